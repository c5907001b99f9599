// Sums over rows for each channel, in two stages and a fixed order.
//
// Stage one: a block is `blockDim.x` groups of N channels by `blockDim.y` rows; the grid is tiles of channels by chunks
// of rows by segments (images). Its partial sums are laid out as [segment][chunk][term][channel]. Stage two adds the
// chunks, in double precision.

// Rows of this block's chunk.
struct Rows {
    u32 begin, end;
};

__device__ inline Rows chunk_rows(u32 rows, u32 rows_per_chunk) {
    u32 begin = at_most(blockIdx.y * rows_per_chunk, rows);
    return {begin, at_most(begin + rows_per_chunk, rows)};
}

// The first of this thread's channels.
template <int N> __device__ inline u32 first_channel() { return (blockIdx.x * blockDim.x + threadIdx.x) * N; }

// Number of values in shared memory that `add_columns` needs.
#define COLUMNS_SHARED(TERMS, N) ((TERMS) * (N) * (THREADS + 4))

// Adds the threads' `sums` over the block's rows, in order, and passes each channel's to `write(channel, sums)`. There
// is a barrier before the shared memory is read; the caller needs another before it is written again.
template <int TERMS, int N, class Write>
__device__ inline void add_columns(const float (&sums)[TERMS][N], u32 channels, float* shared, const Write& write) {
    const u32 slot = threadIdx.y * blockDim.x + threadIdx.x, width = blockDim.x * N;
#pragma unroll
    for (int t = 0; t < TERMS; t++)
#pragma unroll
        for (int j = 0; j < N; j++) shared[(t * N + j) * (THREADS + 4) + slot] = sums[t][j];
    __syncthreads();
    const u32 channel = blockIdx.x * width + slot;
    if (slot >= width || channel >= channels) return;
    float totals[TERMS];
    for (int t = 0; t < TERMS; t++) {
        const float* column = shared + (t * N + slot % N) * (THREADS + 4) + slot / N;
        float even = 0.0f, odd = 0.0f;
        for (u32 row = 0; row + 1 < blockDim.y; row += 2) {
            even += column[row * blockDim.x];
            odd += column[(row + 1) * blockDim.x];
        }
        if (blockDim.y % 2) even += column[(blockDim.y - 1) * blockDim.x];
        totals[t] = even + odd;
    }
    write(channel, totals);
}

// `term(row, channel, sums)` adds a row's terms of N channels, for all rows of the block.
template <int TERMS, int N, class Term, class Write>
__device__ inline void column_sums(const Term& term, Rows rows, u32 channels, float* shared, const Write& write) {
    const u32 channel = first_channel<N>();
    float sums[TERMS][N] = {};
    if (channel < channels) {
#pragma unroll 4
        for (u32 row = rows.begin + threadIdx.y; row < rows.end; row += blockDim.y) term(row, channel, sums);
    }
    add_columns<TERMS, N>(sums, channels, shared, write);
}

// The address of a block's partial sum of a term.
__device__ inline float* partial_at(float* partials, int terms, int term, u32 channels, u32 channel) {
    return partials + ((u64)(blockIdx.z * gridDim.y + blockIdx.y) * terms + term) * channels + channel;
}

// Adds doubles over the rows of a block; the threads of its first row then hold the sums. `shared` has THREADS values.
__device__ inline double add_rows(double value, double* shared) {
    const u32 slot = threadIdx.y * blockDim.x + threadIdx.x;
    shared[slot] = value;
    __syncthreads();
    for (u32 half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y < half) shared[slot] += shared[slot + half * blockDim.x];
        __syncthreads();
    }
    double sum = shared[threadIdx.x];
    __syncthreads();
    return sum;
}

// out[segment, i] (+)= factor * sum over chunks of partials[segment, chunk, i]. A block is `blockDim.x` elements of out
// by `blockDim.y` (a power of two) subsets of the chunks.
KERNEL(sum_partials, (const float* partials, float* out, u32 segments, u32 chunks, u32 width, float factor, int add)) {
    __shared__ double shared[THREADS];
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    double sum = 0.0;
    if (i < segments * width) {
        const float* from = partials + (u64)(i / width) * chunks * width + i % width;
#pragma unroll 4
        for (u32 chunk = threadIdx.y; chunk < chunks; chunk += blockDim.y) sum += from[(u64)chunk * width];
    }
    if (blockDim.y > 1) sum = add_rows(sum, shared);
    if (threadIdx.y != 0 || i >= segments * width) return;
    float value = (float)(sum * factor);
    out[i] = add ? out[i] + value : value;
}

// Terms of a plain sum of x.
template <class E, int N> struct PlainTerm {
    const E* x;
    u32 c;
    __device__ void operator()(u32 row, u32 channel, float (&sums)[1][N]) const {
        float v[N];
        load<N>(x + row * c + channel, v);
        for (int j = 0; j < N; j++) sums[0][j] += v[j];
    }
};

// Sums over the pixels of each segment: the gradient of a bias (one segment), the mean over an image (one segment per
// image).
template <class E, int N>
__device__ inline void channel_sums(In x, float* partials, u32 rows, u32 rows_per_chunk, u32 c, float* shared) {
    PlainTerm<E, N> term = {(const E*)x + blockIdx.z * rows * c, c};
    column_sums<1, N>(term, chunk_rows(rows, rows_per_chunk), c, shared, [&](u32 channel, const float (&sums)[1]) {
        *partial_at(partials, 1, 0, c, channel) = sums[0];
    });
}

template <class E, int N> struct ProductTerm {
    const E *x, *dy;
    u32 c;
    __device__ void operator()(u32 row, u32 channel, float (&sums)[1][N]) const {
        float v[N], g[N];
        load<N>(x + row * c + channel, v);
        load<N>(dy + row * c + channel, g);
        for (int j = 0; j < N; j++) sums[0][j] += v[j] * g[j];
    }
};

// Sums of x * dy over the pixels of each image: the gradient of squeeze-excite's scale.
template <class E, int N>
__device__ inline void channel_products(In x, In dy, float* partials, u32 rows, u32 rows_per_chunk, u32 c, float* shared) {
    u32 image = blockIdx.z * rows * c;
    ProductTerm<E, N> term = {(const E*)x + image, (const E*)dy + image, c};
    column_sums<1, N>(term, chunk_rows(rows, rows_per_chunk), c, shared, [&](u32 channel, const float (&sums)[1]) {
        *partial_at(partials, 1, 0, c, channel) = sums[0];
    });
}

// As KERNELS, with shared memory for the columns of TERMS terms.
#define COLUMN_KERNEL(NAME, TERMS, SUFFIX, E, N, PARAMS, ...)       \
    KERNEL(NAME##SUFFIX, PARAMS) {                                  \
        __shared__ float shared[COLUMNS_SHARED(TERMS, N)];          \
        NAME<E, N>(__VA_ARGS__, shared);                            \
    }
#if PRECISION == BF16
#define COLUMN_KERNELS(NAME, TERMS, PARAMS, ...)                              \
    COLUMN_KERNEL(NAME, TERMS, _wide, Element, WIDE, PARAMS, __VA_ARGS__)     \
    COLUMN_KERNEL(NAME, TERMS, _single, Element, 1, PARAMS, __VA_ARGS__)      \
    COLUMN_KERNEL(NAME, TERMS, _f32, float, 1, PARAMS, __VA_ARGS__)
#else
#define COLUMN_KERNELS(NAME, TERMS, PARAMS, ...)                              \
    COLUMN_KERNEL(NAME, TERMS, _wide, Element, WIDE, PARAMS, __VA_ARGS__)     \
    COLUMN_KERNEL(NAME, TERMS, _single, Element, 1, PARAMS, __VA_ARGS__)
#endif

COLUMN_KERNELS(channel_sums, 1, (In x, float* partials, u32 rows, u32 rows_per_chunk, u32 c), x, partials, rows,
               rows_per_chunk, c)
COLUMN_KERNELS(channel_products, 1, (In x, In dy, float* partials, u32 rows, u32 rows_per_chunk, u32 c), x, dy, partials,
               rows, rows_per_chunk, c)
