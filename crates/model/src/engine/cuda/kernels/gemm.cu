// One tiled matrix product, C[m, n] = sum over k of A(m, k) * B(k, n), whose factors are read in place: the implicit
// GEMM of every convolution. A block computes BM x BN values from tiles in shared memory, which are copied STAGES - 1
// tiles ahead of the product.
//
// An operand defines where its elements are. One of its two indices is its side (m for A, n for B), the other is k:
//   Side side(u32)           decodes a position along the side (this is where the divisions are),
//   Depth depth(u32)         the same for k; `move(depth, step)` advances it without a division,
//   const Element* at(side, depth)   the address, or null for a zero,
//   bool wide                whether WIDE elements from a multiple of WIDE along the contiguous index are adjacent and
//                            aligned, and null only all together.
// A_ALONG_K and B_ALONG_K state which index is contiguous: k (true) or the side (false).
//
// A problem's `store(m, n, count, values)` takes up to WIDE columns of a row. Neither is called for positions outside
// the matrix.

#define TILE_K (64 / (int)sizeof(Element))
#define STAGES 3

// A tile in shared memory. Rows are padded so that the product's reads have no bank conflicts.
template <int SIDE, bool K_CONTIGUOUS> struct Tile {
    static constexpr bool ALONG_K = K_CONTIGUOUS;
    static constexpr int ROWS = ALONG_K ? SIDE : TILE_K;
    static constexpr int COLS = ALONG_K ? TILE_K : SIDE;
    static constexpr int PITCH = COLS + (ALONG_K ? WIDE : 8);
    static constexpr int SIZE = ROWS * PITCH;
    static __device__ constexpr int at(int side, int k) { return ALONG_K ? side * PITCH + k : k * PITCH + side; }
};

// A thread's copies for each tile of an operand whose k is contiguous: the same k of several sides.
template <int SIDE, bool ALONG_K, class Operand> struct Copier {
    static constexpr int CHUNKS = Tile<SIDE, true>::COLS / WIDE;
    static constexpr int COPIES = (SIDE * CHUNKS + THREADS - 1) / THREADS;
    const Operand& operand;
    u32 k, k_end;
    u32 first, end;
    typename Operand::Side sides[COPIES];
    typename Operand::Depth depth;

    __device__ Copier(const Operand& operand, u32 first, u32 end, u32 k_begin, u32 k_end)
        : operand(operand), k(k_begin + threadIdx.x % CHUNKS * WIDE), k_end(k_end), first(first), end(end) {
        for (int i = 0; i < COPIES; i++) sides[i] = operand.side(at_most(first + row(i), end - 1));
        depth = operand.depth(k);
    }

    __device__ static u32 row(int i) { return (threadIdx.x + i * THREADS) / CHUNKS; }

    __device__ void copy(Element* tile) {
#pragma unroll
        for (int i = 0; i < COPIES; i++) {
            if (SIDE * CHUNKS % THREADS != 0 && row(i) >= SIDE) break;
            Element* to = tile + Tile<SIDE, true>::at(row(i), threadIdx.x % CHUNKS * WIDE);
            bool inside = first + row(i) < end;
            if (operand.wide) {
                const Element* from = inside && k < k_end ? operand.at(sides[i], depth) : nullptr;
                copy_async(to, from ? from : operand.data, from != nullptr);
                continue;
            }
            for (int j = 0; j < WIDE; j++) {
                const Element* from = inside && k + j < k_end ? operand.at(sides[i], operand.depth(k + j)) : nullptr;
                to[j] = from ? *from : Element();
            }
        }
        k += TILE_K;
        operand.move(depth, TILE_K);
    }
};

// The same for an operand whose side is contiguous: the same sides at several k.
template <int SIDE, class Operand> struct Copier<SIDE, false, Operand> {
    static constexpr int CHUNKS = SIDE / WIDE;
    static constexpr int COPIES = (TILE_K * CHUNKS + THREADS - 1) / THREADS;
    const Operand& operand;
    u32 k, k_end;
    u32 first, end;
    typename Operand::Side side;
    typename Operand::Depth depths[COPIES];

    __device__ Copier(const Operand& operand, u32 block_first, u32 end, u32 k_begin, u32 k_end)
        : operand(operand), k(k_begin), k_end(k_end), first(block_first + threadIdx.x % CHUNKS * WIDE), end(end) {
        side = operand.side(at_most(first, end - 1));
        for (int i = 0; i < COPIES; i++) depths[i] = operand.depth(k + row(i));
    }

    __device__ static u32 row(int i) { return (threadIdx.x + i * THREADS) / CHUNKS; }

    __device__ void copy(Element* tile) {
#pragma unroll
        for (int i = 0; i < COPIES; i++) {
            if (TILE_K * CHUNKS % THREADS != 0 && row(i) >= TILE_K) break;
            Element* to = tile + Tile<SIDE, false>::at(threadIdx.x % CHUNKS * WIDE, row(i));
            bool inside = k + row(i) < k_end;
            if (operand.wide) {
                const Element* from = inside && first < end ? operand.at(side, depths[i]) : nullptr;
                copy_async(to, from ? from : operand.data, from != nullptr);
            } else {
                for (int j = 0; j < WIDE; j++) {
                    const Element* from =
                        inside && first + j < end ? operand.at(operand.side(first + j), depths[i]) : nullptr;
                    to[j] = from ? *from : Element();
                }
            }
            operand.move(depths[i], TILE_K);
        }
        k += TILE_K;
    }
};

// The product of two tiles of types A and B, over the first `depth` of their k (a multiple of a step), added to sums
// that are distributed over the block's threads; `write` stores them in shared memory, row by row.
#if PRECISION == F32

template <int BM, int BN, class A, class B> struct Product {
    // A thread has every 16th row and every 16th column.
    static constexpr int TM = BM / 16, TN = BN / 16, STEP = 4;
    float sums[TM][TN] = {};

    // Four consecutive k at a position of a tile.
    template <class T> __device__ static void read(const float* tile, int side, int k, float (&to)[4]) {
        if (T::ALONG_K)
            load<4>(tile + T::at(side, k), to);
        else
            for (int i = 0; i < 4; i++) to[i] = tile[T::at(side, k + i)];
    }

    __device__ void add(const float* tile_a, const float* tile_b, int depth) {
        const int row = threadIdx.x / 16, col = threadIdx.x % 16;
#pragma unroll
        for (int k = 0; k < TILE_K; k += STEP) {
            if (k >= depth) break;
            float b[TN][4];
#pragma unroll
            for (int j = 0; j < TN; j++) read<B>(tile_b, col + 16 * j, k, b[j]);
#pragma unroll
            for (int i = 0; i < TM; i++) {
                float a[4];
                read<A>(tile_a, row + 16 * i, k, a);
#pragma unroll
                for (int j = 0; j < TN; j++)
#pragma unroll
                    for (int l = 0; l < 4; l++) sums[i][j] += a[l] * b[j][l];
            }
        }
    }

    __device__ void write(float* c, int pitch) const {
        const int row = threadIdx.x / 16, col = threadIdx.x % 16;
        for (int i = 0; i < TM; i++)
            for (int j = 0; j < TN; j++) c[(row + 16 * i) * pitch + col + 16 * j] = sums[i][j];
    }
};

#else

template <int BM, int BN, class A, class B> struct Product {
    // The block's eight warps form a grid of WARPS_M x WARPS_N; each has MT x NT products of 16 x 8.
    static constexpr int WARPS_N = BN >= 32 ? 2 : 1, WARPS_M = 8 / WARPS_N;
    static constexpr int WM = BM / WARPS_M, WN = BN / WARPS_N, MT = WM / 16, NT = WN / 8;
    static constexpr int STEP = 2 * WIDE;  // of k, in one instruction
    float sums[MT][NT][4] = {};

    __device__ static void factor_a(const Element* tile, int m, int k, u32 (&a)[4]) {
        if (A::ALONG_K) {
            load_matrices(a, [&](int t) { return tile + A::at(m + t % 16, k + t / 16 * WIDE); });
        } else {
#if PRECISION == BF16
            load_matrices_transposed(a, [&](int t) { return tile + A::at(m + t / 8 % 2 * 8, k + t % 8 + t / 16 * 8); });
#else
            const int lane = threadIdx.x % 32, row = m + lane / 4, depth = k + lane % 4;
            a[0] = bits_of(tile[A::at(row, depth)]);
            a[1] = bits_of(tile[A::at(row + 8, depth)]);
            a[2] = bits_of(tile[A::at(row, depth + 4)]);
            a[3] = bits_of(tile[A::at(row + 8, depth + 4)]);
#endif
        }
    }

    // For two adjacent products.
    __device__ static void factor_b(const Element* tile, int n, int k, u32 (&b)[4]) {
        if (B::ALONG_K) {
            load_matrices(b, [&](int t) { return tile + B::at(n + t % 8 + t / 16 * 8, k + t / 8 % 2 * WIDE); });
        } else {
#if PRECISION == BF16
            load_matrices_transposed(b, [&](int t) { return tile + B::at(n + t / 16 * 8, k + t % 16); });
#else
            const int lane = threadIdx.x % 32, col = n + lane / 4, depth = k + lane % 4;
            b[0] = bits_of(tile[B::at(col, depth)]);
            b[1] = bits_of(tile[B::at(col, depth + 4)]);
            b[2] = bits_of(tile[B::at(col + 8, depth)]);
            b[3] = bits_of(tile[B::at(col + 8, depth + 4)]);
#endif
        }
    }

    __device__ void add(const Element* tile_a, const Element* tile_b, int depth) {
        const int warp = threadIdx.x / 32, m0 = warp / WARPS_N * WM, n0 = warp % WARPS_N * WN;
#pragma unroll
        for (int k = 0; k < TILE_K; k += STEP) {
            if (k >= depth) break;
            u32 a[MT][4], b[NT][2];
#pragma unroll
            for (int i = 0; i < MT; i++) factor_a(tile_a, m0 + 16 * i, k, a[i]);
#pragma unroll
            for (int j = 0; j < NT; j += 2) {
                u32 pair[4];
                factor_b(tile_b, n0 + 8 * j, k, pair);
                b[j][0] = pair[0], b[j][1] = pair[1], b[j + 1][0] = pair[2], b[j + 1][1] = pair[3];
            }
#if PRECISION == TF32
            for (int i = 0; i < MT; i++)
                for (int l = 0; l < 4; l++) a[i][l] = round_tf32(a[i][l]);
            for (int j = 0; j < NT; j++)
                for (int l = 0; l < 2; l++) b[j][l] = round_tf32(b[j][l]);
#endif
            multiply<MT, NT>(sums, a, b);
        }
    }

    __device__ void write(float* c, int pitch) const {
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        const int row = warp / WARPS_N * WM + lane / 4, col = warp % WARPS_N * WN + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < MT; i++)
#pragma unroll
            for (int j = 0; j < NT; j++)
#pragma unroll
                for (int l = 0; l < 4; l += 2)
                    *(float2*)(c + (row + 16 * i + l * 4) * pitch + col + 8 * j) =
                        make_float2(sums[i][j][l], sums[i][j][l + 1]);
    }
};

#endif

// Shared memory of a block: tiles, and after the product its sums.
template <int BM, int BN, bool A_ALONG_K, bool B_ALONG_K> struct Shared {
    static constexpr int TILES = Tile<BM, A_ALONG_K>::SIZE + Tile<BN, B_ALONG_K>::SIZE;
    static constexpr int PITCH = BN + 8;
    static constexpr int BYTES_OF_TILES = STAGES * TILES * (int)sizeof(Element);
    static constexpr int BYTES_OF_SUMS = BM * PITCH * (int)sizeof(float);
    static constexpr int BYTES = BYTES_OF_TILES > BYTES_OF_SUMS ? BYTES_OF_TILES : BYTES_OF_SUMS;
    static_assert(BYTES <= 48 << 10, "the static limit of a block's shared memory");
    // After the sums there must be room for one value per thread.
    static_assert(BYTES_OF_SUMS + THREADS * (int)sizeof(float) <= BYTES, "room for the moments");
};

template <int BM, int BN, bool A_ALONG_K, bool B_ALONG_K, class OperandA, class OperandB, class Problem>
__device__ inline void gemm(const OperandA& a, const OperandB& b, const Problem& problem, u32 rows, u32 cols,
                            u32 k_begin, u32 k_end, void* shared) {
    typedef Shared<BM, BN, A_ALONG_K, B_ALONG_K> S;
    const u32 m0 = blockIdx.x * BM, n0 = blockIdx.y * BN;
    const int tiles = (int)((k_end - k_begin + TILE_K - 1) / TILE_K);
    Element* const memory = (Element*)shared;
    Copier<BM, A_ALONG_K, OperandA> copier_a(a, m0, rows, k_begin, k_end);
    Copier<BN, B_ALONG_K, OperandB> copier_b(b, n0, cols, k_begin, k_end);
    Product<BM, BN, Tile<BM, A_ALONG_K>, Tile<BN, B_ALONG_K>> product;

    int ahead = 0;  // the next stage to fill
    const auto fill = [&](int tile) {
        if (tile < tiles) {
            copier_a.copy(memory + ahead * S::TILES);
            copier_b.copy(memory + ahead * S::TILES + Tile<BM, A_ALONG_K>::SIZE);
        }
        copies_commit();
        ahead = ahead + 1 == STAGES ? 0 : ahead + 1;
    };
    for (int tile = 0; tile < STAGES - 1; tile++) fill(tile);
    int stage = 0;
    for (int tile = 0; tile < tiles; tile++) {
        copies_wait<STAGES - 2>();
        __syncthreads();  // this tile has arrived, and no thread still reads the previous one
        fill(tile + STAGES - 1);
        product.add(memory + stage * S::TILES, memory + stage * S::TILES + Tile<BM, A_ALONG_K>::SIZE, TILE_K);
        stage = stage + 1 == STAGES ? 0 : stage + 1;
    }
    copies_wait<0>();
    __syncthreads();
    float* const c = (float*)shared;
    product.write(c, S::PITCH);
    __syncthreads();
    for (int i = threadIdx.x; i < BM * (BN / WIDE); i += THREADS) {
        const int row = i / (BN / WIDE), col = i % (BN / WIDE) * WIDE;
        const u32 m = m0 + row, n = n0 + col;
        if (m < rows && n < cols) problem.store(m, n, (int)at_most(cols - n, WIDE), c + row * S::PITCH + col);
    }
    const u32 inside = at_most(rows - m0, BM);
    float* const behind = c + S::BYTES_OF_SUMS / (int)sizeof(float);
    problem.template moments<BM, BN>(c, [&](int row) { return (u32)row < inside; }, inside, n0, behind);
}

// Base of problems whose columns are not read by a norm.
struct NoMoments {
    template <int BM, int BN, class Valid>
    __device__ void moments(const float*, const Valid&, u32, u32, float*) const {}
};

// The moments of a tile's columns for the batch norm that reads them: each column's mean and sum of squares about it,
// over the `count` rows for which `valid` holds. `sums` is [BM][BN + 8]; `shared` has THREADS values.
template <int BM, int BN, class Valid>
__device__ inline void column_moments(const float* sums, const Valid& valid, float count, float* mean_to, float* squares_to,
                                      u32 columns, float* shared) {
    constexpr int SHARES = THREADS / BN;
    const int col = threadIdx.x % BN, share = threadIdx.x / BN;
    const auto total = [&](float value) {
        shared[threadIdx.x] = value;
        __syncthreads();
        float sum = 0.0f;
        for (int i = 0; i < SHARES; i++) sum += shared[i * BN + col];
        __syncthreads();
        return sum;
    };
    float sum = 0.0f, squares = 0.0f;
    for (int row = share; row < BM; row += SHARES)
        if (valid(row)) sum += sums[row * (BN + 8) + col];
    const float mean = total(sum) / count;
    for (int row = share; row < BM; row += SHARES) {
        float d = sums[row * (BN + 8) + col] - mean;
        if (valid(row)) squares += d * d;
    }
    squares = total(squares);
    if (share != 0 || (u32)col >= columns) return;
    mean_to[col] = mean;
    squares_to[col] = squares;
}

// Destination of the moments of all tiles, [tile][2][channels], and of each tile's number of rows; null if not
// requested.
struct Moments {
    float *partials, *counts;
    // Writes those of this block's tile, for the columns from n0 on.
    template <int BM, int BN, class Valid>
    __device__ void put(const float* sums, const Valid& valid, u32 count, u32 n0, u32 channels, float* shared) const {
        if (!partials) return;
        __syncthreads();  // all values have been rounded as stored
        float* to = partials + (u64)blockIdx.x * 2 * channels + n0;
        column_moments<BM, BN>(sums, valid, (float)count, to, to + channels, channels - n0, shared);
        if (n0 == 0 && threadIdx.x == 0) counts[blockIdx.x] = (float)count;
    }
};

// Writes up to WIDE values of a row to y; `wide` is set if all rows are aligned and their lengths are multiples of
// WIDE.
template <class E> __device__ inline void put_row(E* y, int count, const float* values, bool wide, int add) {
    if (wide) {
        float v[WIDE];
        load<WIDE>(values, v);
        put<WIDE>(y, v, add);
        return;
    }
    for (int i = 0; i < count; i++) {
        float v[1] = {values[i]};
        put<1>(y + i, v, add);
    }
}

// A matrix in memory: one of the strides is 1.
struct Matrix {
    typedef u32 Side;
    typedef u32 Depth;
    const Element* data;
    u32 side_stride, depth_stride;
    bool wide;
    __device__ Side side(u32 i) const { return i * side_stride; }
    __device__ Depth depth(u32 k) const { return k * depth_stride; }
    __device__ void move(Depth& d, int step) const { d += step * depth_stride; }
    __device__ const Element* at(Side i, Depth k) const { return data + i + k; }
};

// A host that defines SHARED itself has one such memory for all blocks.
#ifndef SHARED
#define SHARED(NAME, BYTES) __shared__ float4 NAME[(BYTES) / 16];
#endif

// One kernel per tile shape. The body declares `a`, `b`, `problem`, `rows`, `cols`, `k_begin` and `k_end`.
#define GEMM_KERNEL(NAME, BM, BN, A_ALONG_K, B_ALONG_K, PARAMS, ...)                                      \
    KERNEL(NAME##_##BM##x##BN, PARAMS) {                                                                  \
        SHARED(shared, (Shared<BM, BN, A_ALONG_K, B_ALONG_K>::BYTES))                                     \
        __VA_ARGS__                                                                                       \
        gemm<BM, BN, A_ALONG_K, B_ALONG_K>(a, b, problem, rows, cols, k_begin, k_end, shared);            \
    }
#define GEMM_KERNELS(NAME, A_ALONG_K, B_ALONG_K, PARAMS, ...)                                             \
    GEMM_KERNEL(NAME, 128, 64, A_ALONG_K, B_ALONG_K, PARAMS, __VA_ARGS__)                                 \
    GEMM_KERNEL(NAME, 128, 32, A_ALONG_K, B_ALONG_K, PARAMS, __VA_ARGS__)                                 \
    GEMM_KERNEL(NAME, 128, 16, A_ALONG_K, B_ALONG_K, PARAMS, __VA_ARGS__)                                 \
    GEMM_KERNEL(NAME, 64, 64, A_ALONG_K, B_ALONG_K, PARAMS, __VA_ARGS__)
