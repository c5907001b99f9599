// One tiled matrix product, C[m, n] = sum over k of A(m, k) * B(k, n), whose factors are gathered by a problem: the
// implicit gemm of every convolution. A block computes BM x BN values from tiles of TILE_K in shared memory, a thread
// TM x TN of them in registers.
//
// A problem says what a row, a column and a step of k mean: `row(m)`, `col(n)`, `depth(k)` decode an index once (the
// divisions are there), `a(row, depth)` and `b(depth, col)` fetch, `store(m, n, sum)` writes. Indices beyond the
// matrix never reach them.
//
// A_ALONG_K and B_ALONG_K say which index is contiguous in memory, and so which one neighbouring threads load.

#define TILE_K 16
// Between rows of a tile in shared memory, against bank conflicts.
#define TILE_PAD 4

template <int BM, int BN, int TM, int TN, bool A_ALONG_K, bool B_ALONG_K, class Problem>
__device__ inline void gemm(const Problem& problem, u32 rows, u32 cols, u32 k_begin, u32 k_end, float* tile_a,
                            float* tile_b) {
    static_assert((BM / TM) * (BN / TN) == THREADS, "a thread for each part of the tile");
    const u32 thread = threadIdx.x;
    const u32 m0 = blockIdx.x * BM, n0 = blockIdx.y * BN;
    const u32 ty = thread / (BN / TN), tx = thread % (BN / TN);
    // The part of A and of B that this thread loads: one index fixed, the other in steps.
    constexpr int A_STEP = A_ALONG_K ? THREADS / TILE_K : THREADS / BM;
    constexpr int A_LOADS = BM * TILE_K / THREADS;
    constexpr int B_STEP = B_ALONG_K ? THREADS / TILE_K : THREADS / BN;
    constexpr int B_LOADS = BN * TILE_K / THREADS;
    const u32 a_fixed = A_ALONG_K ? thread % TILE_K : thread % BM;
    const u32 a_first = A_ALONG_K ? thread / TILE_K : thread / BM;
    const u32 b_fixed = B_ALONG_K ? thread % TILE_K : thread % BN;
    const u32 b_first = B_ALONG_K ? thread / TILE_K : thread / BN;

    typename Problem::Row a_rows[A_ALONG_K ? A_LOADS : 1];
    for (int i = 0; i < (A_ALONG_K ? A_LOADS : 1); i++) {
        u32 m = m0 + (A_ALONG_K ? a_first + i * A_STEP : a_fixed);
        a_rows[i] = problem.row(m < rows ? m : rows - 1);
    }
    typename Problem::Col b_cols[B_ALONG_K ? B_LOADS : 1];
    for (int i = 0; i < (B_ALONG_K ? B_LOADS : 1); i++) {
        u32 n = n0 + (B_ALONG_K ? b_first + i * B_STEP : b_fixed);
        b_cols[i] = problem.col(n < cols ? n : cols - 1);
    }
    float sums[TM][TN];
    for (int i = 0; i < TM; i++)
        for (int j = 0; j < TN; j++) sums[i][j] = 0.0f;

    for (u32 k0 = k_begin; k0 < k_end; k0 += TILE_K) {
        if (A_ALONG_K) {
            u32 k = k0 + a_fixed;
            typename Problem::Depth depth = problem.depth(k < k_end ? k : k_begin);
#pragma unroll
            for (int i = 0; i < A_LOADS; i++) {
                u32 m = a_first + i * A_STEP;
                bool inside = k < k_end && m0 + m < rows;
                tile_a[a_fixed * (BM + TILE_PAD) + m] = inside ? problem.a(a_rows[i], depth) : 0.0f;
            }
        } else {
#pragma unroll
            for (int i = 0; i < A_LOADS; i++) {
                u32 kk = a_first + i * A_STEP, k = k0 + kk;
                bool inside = k < k_end && m0 + a_fixed < rows;
                tile_a[kk * (BM + TILE_PAD) + a_fixed] = inside ? problem.a(a_rows[0], problem.depth(k)) : 0.0f;
            }
        }
        if (B_ALONG_K) {
            u32 k = k0 + b_fixed;
            typename Problem::Depth depth = problem.depth(k < k_end ? k : k_begin);
#pragma unroll
            for (int i = 0; i < B_LOADS; i++) {
                u32 n = b_first + i * B_STEP;
                bool inside = k < k_end && n0 + n < cols;
                tile_b[b_fixed * (BN + TILE_PAD) + n] = inside ? problem.b(depth, b_cols[i]) : 0.0f;
            }
        } else {
#pragma unroll
            for (int i = 0; i < B_LOADS; i++) {
                u32 kk = b_first + i * B_STEP, k = k0 + kk;
                bool inside = k < k_end && n0 + b_fixed < cols;
                tile_b[kk * (BN + TILE_PAD) + b_fixed] = inside ? problem.b(problem.depth(k), b_cols[0]) : 0.0f;
            }
        }
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < TILE_K; kk++) {
            float a[TM], b[TN];
            for (int i = 0; i < TM; i++) a[i] = tile_a[kk * (BM + TILE_PAD) + ty * TM + i];
            for (int j = 0; j < TN; j++) b[j] = tile_b[kk * (BN + TILE_PAD) + tx * TN + j];
            for (int i = 0; i < TM; i++)
                for (int j = 0; j < TN; j++) sums[i][j] += a[i] * b[j];
        }
        __syncthreads();
    }
    for (int i = 0; i < TM; i++) {
        u32 m = m0 + ty * TM + i;
        for (int j = 0; j < TN; j++) {
            u32 n = n0 + tx * TN + j;
            if (m < rows && n < cols) problem.store(m, n, sums[i][j]);
        }
    }
}

// A kernel in two tile shapes, `_wide` for many columns and `_narrow` for few; BODY sets `problem`, `rows`, `cols`,
// `k_begin` and `k_end`.
#define GEMM_KERNEL(NAME, BM, BN, TM, TN, A_ALONG_K, B_ALONG_K, PARAMS, ...)                              \
    KERNEL(NAME, PARAMS) {                                                                                 \
        __shared__ float tile_a[TILE_K * (BM + TILE_PAD)];                                                 \
        __shared__ float tile_b[TILE_K * (BN + TILE_PAD)];                                                 \
        __VA_ARGS__                                                                                        \
        gemm<BM, BN, TM, TN, A_ALONG_K, B_ALONG_K>(problem, rows, cols, k_begin, k_end, tile_a, tile_b);   \
    }
#define GEMM_KERNELS(NAME, A_ALONG_K, B_ALONG_K, PARAMS, ...)                              \
    GEMM_KERNEL(NAME##_wide, 64, 64, 4, 4, A_ALONG_K, B_ALONG_K, PARAMS, __VA_ARGS__)      \
    GEMM_KERNEL(NAME##_narrow, 128, 16, 4, 2, A_ALONG_K, B_ALONG_K, PARAMS, __VA_ARGS__)
