// Sums over rows for each channel, in two stages and a fixed order.
//
// Stage one: a block is `blockDim.x` channels by `blockDim.y` rows, the grid is channel tiles by chunks of rows by
// segments (images or taps). Its partial sums lie as [segment][chunk][term][channel]. Stage two adds the chunks, in
// double precision.

// Rows of this block's chunk.
struct Rows {
    u32 begin, end;
};

__device__ inline Rows chunk_rows(u32 rows, u32 rows_per_chunk) {
    u32 begin = blockIdx.y * rows_per_chunk;
    u32 end = begin + rows_per_chunk;
    return {begin < rows ? begin : rows, end < rows ? end : rows};
}

// `term(row, channel, sums)` adds a row's terms; `shared` holds TERMS * THREADS values.
template <int TERMS, class Term>
__device__ inline void column_sums(const Term& term, Rows rows, u32 channels, float* partials, float* shared) {
    u32 channel = blockIdx.x * blockDim.x + threadIdx.x;
    u32 slot = threadIdx.y * blockDim.x + threadIdx.x;
    float sums[TERMS];
    for (int t = 0; t < TERMS; t++) sums[t] = 0.0f;
    if (channel < channels)
        for (u32 row = rows.begin + threadIdx.y; row < rows.end; row += blockDim.y) term(row, channel, sums);
    for (int t = 0; t < TERMS; t++) shared[t * THREADS + slot] = sums[t];
    __syncthreads();
    for (u32 half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y < half)
            for (int t = 0; t < TERMS; t++)
                shared[t * THREADS + slot] += shared[t * THREADS + slot + half * blockDim.x];
        __syncthreads();
    }
    if (threadIdx.y == 0 && channel < channels) {
        float* out = partials + (u64)(blockIdx.z * gridDim.y + blockIdx.y) * TERMS * channels;
        for (int t = 0; t < TERMS; t++) out[t * channels + channel] = shared[t * THREADS + slot];
    }
}

// out[segment, i] (+)= factor * sum over chunks of partials[segment, chunk, i]; one thread an element of out
KERNEL(sum_partials, (const float* partials, float* out, u32 segments, u32 chunks, u32 width, float factor, int add)) {
    u32 i = element();
    if (i >= segments * width) return;
    const float* from = partials + (u64)(i / width) * chunks * width + i % width;
    double sum = 0.0;
    for (u32 chunk = 0; chunk < chunks; chunk++) sum += from[(u64)chunk * width];
    put(out + i, (float)(sum * factor), add);
}

// Terms of a plain sum of x, whose segments are of `rows` rows.
struct PlainTerm {
    const float* x;
    u32 c;
    __device__ void operator()(u32 row, u32 channel, float* sums) const { sums[0] += x[row * c + channel]; }
};

// Sums over the pixels of each segment: the gradient of a bias (one segment), the mean over an image (one an image).
KERNEL(channel_sums, (const float* x, float* partials, u32 rows, u32 rows_per_chunk, u32 c)) {
    __shared__ float shared[THREADS];
    PlainTerm term = {x + blockIdx.z * rows * c, c};
    column_sums<1>(term, chunk_rows(rows, rows_per_chunk), c, partials, shared);
}

struct ProductTerm {
    const float *x, *dy;
    u32 c;
    __device__ void operator()(u32 row, u32 channel, float* sums) const {
        sums[0] += x[row * c + channel] * dy[row * c + channel];
    }
};

// Sums of x * dy over the pixels of each image: the gradient of squeeze-excite's scale.
KERNEL(channel_products, (const float* x, const float* dy, float* partials, u32 rows, u32 rows_per_chunk, u32 c)) {
    __shared__ float shared[THREADS];
    ProductTerm term = {x + blockIdx.z * rows * c, dy + blockIdx.z * rows * c, c};
    column_sums<1>(term, chunk_rows(rows, rows_per_chunk), c, partials, shared);
}
