// Sums over rows for each channel, in two stages and a fixed order.
//
// Stage one: a block is `blockDim.x` groups of N channels by `blockDim.y` rows, a power of two; the grid is tiles of channels
// by chunks of rows by segments (images). Its partial sums lie as [segment][chunk][term][channel]. Stage two adds the chunks,
// in double precision.

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

// Adds the block's rows of `sums` together; the threads of its first row then hold them. `shared` has N * THREADS values.
template <int N> __device__ inline void add_rows(float (&sums)[N], float* shared) {
    const u32 slot = threadIdx.y * blockDim.x + threadIdx.x;
    for (int j = 0; j < N; j++) shared[j * THREADS + slot] = sums[j];
    __syncthreads();
    for (u32 half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y < half)
            for (int j = 0; j < N; j++) shared[j * THREADS + slot] += shared[j * THREADS + slot + half * blockDim.x];
        __syncthreads();
    }
    for (int j = 0; j < N; j++) sums[j] = shared[j * THREADS + slot];
    __syncthreads();
}

// `term(row, channel, sums)` adds a row's terms of N channels. True for the threads that end with the chunk's sums.
template <int TERMS, int N, class Term>
__device__ inline bool column_sums(const Term& term, Rows rows, u32 channels, float (&sums)[TERMS][N], float* shared) {
    const u32 channel = first_channel<N>();
    for (int t = 0; t < TERMS; t++)
        for (int j = 0; j < N; j++) sums[t][j] = 0.0f;
    if (channel < channels) {
#pragma unroll 4
        for (u32 row = rows.begin + threadIdx.y; row < rows.end; row += blockDim.y) term(row, channel, sums);
    }
    for (int t = 0; t < TERMS; t++) add_rows<N>(sums[t], shared);
    return threadIdx.y == 0 && channel < channels;
}

// Where a block's partial sums of a term go.
__device__ inline float* partial_at(float* partials, int terms, int term, u32 channels, u32 channel) {
    return partials + ((u64)(blockIdx.z * gridDim.y + blockIdx.y) * terms + term) * channels + channel;
}

// out[segment, i] (+)= factor * sum over chunks of partials[segment, chunk, i]; one thread an element of out
KERNEL(sum_partials, (const float* partials, float* out, u32 segments, u32 chunks, u32 width, float factor, int add)) {
    begin_kernel();
    u32 i = element();
    if (i >= segments * width) return;
    const float* from = partials + (u64)(i / width) * chunks * width + i % width;
    double sum = 0.0;
#pragma unroll 4
    for (u32 chunk = 0; chunk < chunks; chunk++) sum += from[(u64)chunk * width];
    float value = (float)(sum * factor);
    out[i] = add ? out[i] + value : value;
}

// Terms of a plain sum of x, whose segments are of `rows` rows.
template <class E, int N> struct PlainTerm {
    const E* x;
    u32 c;
    __device__ void operator()(u32 row, u32 channel, float (&sums)[1][N]) const {
        float v[N];
        load<N>(x + row * c + channel, v);
        for (int j = 0; j < N; j++) sums[0][j] += v[j];
    }
};

// Sums over the pixels of each segment: the gradient of a bias (one segment), the mean over an image (one an image).
template <class E, int N>
__device__ inline void channel_sums(In x, float* partials, u32 rows, u32 rows_per_chunk, u32 c, float* shared) {
    PlainTerm<E, N> term = {(const E*)x + blockIdx.z * rows * c, c};
    float sums[1][N];
    if (column_sums<1, N>(term, chunk_rows(rows, rows_per_chunk), c, sums, shared))
        store<N>(partial_at(partials, 1, 0, c, first_channel<N>()), sums[0]);
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
    float sums[1][N];
    if (column_sums<1, N>(term, chunk_rows(rows, rows_per_chunk), c, sums, shared))
        store<N>(partial_at(partials, 1, 0, c, first_channel<N>()), sums[0]);
}

// As KERNELS, with shared memory for `add_rows`.
#define COLUMN_KERNEL(NAME, SUFFIX, E, N, PARAMS, ...)   \
    KERNEL(NAME##SUFFIX, PARAMS) {                       \
        begin_kernel();                                  \
        __shared__ float shared[N * THREADS];            \
        NAME<E, N>(__VA_ARGS__, shared);                 \
    }
#if PRECISION == BF16
#define COLUMN_KERNELS(NAME, PARAMS, ...)                              \
    COLUMN_KERNEL(NAME, _wide, Element, WIDE, PARAMS, __VA_ARGS__)     \
    COLUMN_KERNEL(NAME, _single, Element, 1, PARAMS, __VA_ARGS__)      \
    COLUMN_KERNEL(NAME, _f32, float, 1, PARAMS, __VA_ARGS__)
#else
#define COLUMN_KERNELS(NAME, PARAMS, ...)                              \
    COLUMN_KERNEL(NAME, _wide, Element, WIDE, PARAMS, __VA_ARGS__)     \
    COLUMN_KERNEL(NAME, _single, Element, 1, PARAMS, __VA_ARGS__)
#endif

COLUMN_KERNELS(channel_sums, (In x, float* partials, u32 rows, u32 rows_per_chunk, u32 c), x, partials, rows,
               rows_per_chunk, c)
COLUMN_KERNELS(channel_products, (In x, In dy, float* partials, u32 rows, u32 rows_per_chunk, u32 c), x, dy, partials,
               rows, rows_per_chunk, c)
