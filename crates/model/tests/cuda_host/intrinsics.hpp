// The operations of `intrinsics.cu`, on the host. A warp's product contains a barrier: every thread writes its factors
// to its place on a board, waits, and reads those of the other threads. Two boards alternate, so that a thread that is
// already at the next product does not overwrite factors that another still reads.

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
    u32 a[THREADS_OF_A_BLOCK][4][4], b[THREADS_OF_A_BLOCK][4][2];
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

// The rows that other threads pass follow from their indices, so no barrier is needed.
template <class Row> static inline void load_matrices(u32 (&r)[4], const Row& row) {
    const int lane = threadIdx.x % 32;
    for (int i = 0; i < 4; i++) r[i] = pair_at(row(8 * i + lane / 4), lane % 4);
}
template <class Row> static inline void load_matrices_transposed(u32 (&r)[4], const Row& row) {
    const int lane = threadIdx.x % 32;
    for (int i = 0; i < 4; i++) {
        const int first = 8 * i + 2 * (lane % 4);
        r[i] = half_at(row(first), lane / 4) | half_at(row(first + 1), lane / 4) << 16;
    }
}

// Product of element k of row `row` of a and element k of column `col` of b, from the factors of a warp.
#if PRECISION == BF16
static const int DEPTH_OF_PRODUCT = 16;
static inline float bf16_of(u32 pair, int i) { return float_of(i % 2 ? pair & 0xFFFF0000u : pair << 16); }
static inline float product_at(const u32 (*a)[4][4], const u32 (*b)[4][2], int i, int j, int row, int col, int k) {
    u32 left = a[row % 8 * 4 + k % 8 / 2][i][row / 8 + k / 8 * 2], right = b[col * 4 + k % 8 / 2][j][k / 8];
    return bf16_of(left, k) * bf16_of(right, k);
}
#else
static const int DEPTH_OF_PRODUCT = 8;
static inline float product_at(const u32 (*a)[4][4], const u32 (*b)[4][2], int i, int j, int row, int col, int k) {
    u32 left = a[row % 8 * 4 + k % 4][i][row / 8 + k / 4 * 2], right = b[col * 4 + k % 4][j][k / 4];
    // Tensor cores only use the first 19 bits of an f32.
    return float_of(left & 0xFFFFE000) * float_of(right & 0xFFFFE000);
}
#endif

template <int MT, int NT>
static inline void multiply(float (&c)[MT][NT][4], const u32 (&a)[MT][4], const u32 (&b)[NT][2]) {
    static_assert(MT <= 4 && NT <= 4, "the board is too small");
    host::Board& board = host::next_board();
    memcpy(board.a[threadIdx.x], a, sizeof a);
    memcpy(board.b[threadIdx.x], b, sizeof b);
    host::barrier();
    const int lane = threadIdx.x % 32, warp = threadIdx.x - lane;
    for (int i = 0; i < MT; i++)
        for (int j = 0; j < NT; j++)
            for (int l = 0; l < 4; l++)
                for (int k = 0; k < DEPTH_OF_PRODUCT; k++)
                    c[i][j][l] += product_at(board.a + warp, board.b + warp, i, j, lane / 4 + l / 2 * 8,
                                             lane % 4 * 2 + l % 2, k);
}

#endif
