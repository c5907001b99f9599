// What `intrinsics.cu` has instructions for, on the host. A warp's instruction is a barrier: every thread leaves what it
// brings in its place of a board, waits, and reads what its neighbours left. Two boards take turns, so that a thread that is
// already at the next instruction overwrites nothing that another still reads.

static inline u32 bits_of(float x) {
    u32 bits;
    memcpy(&bits, &x, 4);
    return bits;
}
static inline float float_of(u32 bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static inline float fast_exp(float x) { return expf(x); }
static inline float fast_divide(float a, float b) { return a / b; }

static inline void copy_async(void* to, const void* from, bool inside) {
    if (inside)
        memcpy(to, from, 16);
    else
        memset(to, 0, 16);
}
static inline void copies_commit() {}
template <int N> static inline void copies_wait() {}

#if PRECISION != F32

static inline u32 rounded_bf16(float x) {
    u32 bits = bits_of(x);
    if (x != x) return (bits >> 16) | 0x40;
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}
static inline u32 pack_bf16(float low, float high) { return rounded_bf16(low) | rounded_bf16(high) << 16; }
static inline u32 round_tf32(u32 bits) { return (bits + 0x1000) & 0xFFFFE000; }

namespace host {

struct Board {
    const void* rows[THREADS_OF_A_BLOCK];
    u32 a[THREADS_OF_A_BLOCK][4], b[THREADS_OF_A_BLOCK][2];
};
static Board boards[2];
static unsigned char turns[THREADS_OF_A_BLOCK];

static inline Board& next_board() { return boards[turns[threadIdx.x]++ % 2]; }

}  // namespace host

static inline u32 pair_at(const void* row, int i) {
    u32 pair;
    memcpy(&pair, (const char*)row + 4 * i, 4);
    return pair;
}
static inline u32 half_at(const void* row, int i) {
    unsigned short half;
    memcpy(&half, (const char*)row + 2 * i, 2);
    return half;
}

static inline void load_matrices(u32 (&r)[4], const void* row) {
    host::Board& board = host::next_board();
    board.rows[threadIdx.x] = row;
    host::barrier();
    const int lane = threadIdx.x % 32, warp = threadIdx.x - lane;
    for (int i = 0; i < 4; i++) r[i] = pair_at(board.rows[warp + 8 * i + lane / 4], lane % 4);
}
static inline void load_matrices_transposed(u32 (&r)[4], const void* row) {
    host::Board& board = host::next_board();
    board.rows[threadIdx.x] = row;
    host::barrier();
    const int lane = threadIdx.x % 32, warp = threadIdx.x - lane;
    for (int i = 0; i < 4; i++) {
        const void* const* rows = board.rows + warp + 8 * i + 2 * (lane % 4);
        r[i] = half_at(rows[0], lane / 4) | half_at(rows[1], lane / 4) << 16;
    }
}

// Element k of a thread's row or column among those that a warp holds.
static inline float bf16_of(u32 pair, int i) { return float_of(i % 2 ? pair & 0xFFFF0000u : pair << 16); }

static inline void multiply_bf16(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    host::Board& board = host::next_board();
    for (int i = 0; i < 4; i++) board.a[threadIdx.x][i] = a[i];
    for (int i = 0; i < 2; i++) board.b[threadIdx.x][i] = b[i];
    host::barrier();
    const int lane = threadIdx.x % 32, warp = threadIdx.x - lane;
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4 + i / 2 * 8, col = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; k++) {
            u32 left = board.a[warp + row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
            u32 right = board.b[warp + col * 4 + k % 8 / 2][k / 8];
            c[i] += bf16_of(left, k) * bf16_of(right, k);
        }
    }
}
static inline void multiply_tf32(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    host::Board& board = host::next_board();
    for (int i = 0; i < 4; i++) board.a[threadIdx.x][i] = a[i];
    for (int i = 0; i < 2; i++) board.b[threadIdx.x][i] = b[i];
    host::barrier();
    const int lane = threadIdx.x % 32, warp = threadIdx.x - lane;
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4 + i / 2 * 8, col = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 8; k++) {
            u32 left = board.a[warp + row % 8 * 4 + k % 4][row / 8 + k / 4 * 2];
            u32 right = board.b[warp + col * 4 + k % 4][k / 4];
            // Tensor cores look at no more of an f32 than its first 19 bits.
            c[i] += float_of(left & 0xFFFFE000) * float_of(right & 0xFFFFE000);
        }
    }
}

#endif
