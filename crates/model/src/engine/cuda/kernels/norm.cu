// Batch norm (Ioffe & Szegedy 2015) with the activation that follows it: a = z * scale + shift, y = act(a). The
// backward pass recomputes a rather than reading it.

// Sums relative to a value of the chunk, so that a small variance is not lost to rounding under a large mean.
template <class E, int N> struct MomentTerms {
    const E* z;
    u32 c;
    float origin[N];
    __device__ void operator()(u32 row, u32 channel, float (&sums)[2][N]) const {
        float v[N];
        load<N>(z + row * c + channel, v);
        for (int j = 0; j < N; j++) {
            float d = v[j] - origin[j];
            sums[0][j] += d;
            sums[1][j] += d * d;
        }
    }
};

// partials: each chunk's mean, and its sum of squares about that mean
template <class E, int N>
__device__ inline void batch_norm_moments(In z_, float* partials, u32 rows, u32 rows_per_chunk, u32 c, float* shared) {
    const E* z = (const E*)z_;
    Rows chunk = chunk_rows(rows, rows_per_chunk);
    MomentTerms<E, N> terms = {z, c, {}};
    u32 channel = first_channel<N>();
    if (channel < c) load<N>(z + chunk.begin * c + channel, terms.origin);
    column_sums<2, N>(terms, chunk, c, shared, [&](u32 channel, const float (&sums)[2]) {
        float offset = sums[0] / (float)(chunk.end - chunk.begin);
        float squares = sums[1] - sums[0] * offset;
        *partial_at(partials, 2, 0, c, channel) = value_at(z + chunk.begin * c + channel) + offset;
        *partial_at(partials, 2, 1, c, channel) = squares < 0.0f ? 0.0f : squares;  // a NaN is kept
    });
}
COLUMN_KERNELS(batch_norm_moments, 2, (In z, float* partials, u32 rows, u32 rows_per_chunk, u32 c), z, partials, rows,
               rows_per_chunk, c)

// A norm's parameters: gamma, beta, running mean and variance, c values each, and the values it saves,
// [mean, var, scale, shift].
struct NormParameters {
    const float *gamma, *beta;
    float *running_mean, *running_var;
    float* saved;
    float eps, momentum;
};
static_assert(sizeof(NormParameters) == 48, "NormParameters is laid out as on the host");

// scale = gamma / sqrt(var + eps), shift = beta + (bias - mean) * scale
__device__ inline void fold(const NormParameters& p, u32 channel, u32 c, float mean, float var, float bias) {
    float s = p.gamma[channel] / sqrtf(var + p.eps);
    p.saved[2 * c + channel] = s;
    p.saved[3 * c + channel] = p.beta[channel] + (bias - mean) * s;
}

// Mean and biased variance from the chunks' moments, scale and shift derived from them, and the update of the running
// statistics (with the unbiased variance, as in PyTorch). `counts` are the chunks' numbers of rows; null if all chunks
// but the last have `rows_per_chunk`. A block is `blockDim.x` channels by `blockDim.y` (a power of two) subsets of the
// chunks.
KERNEL(batch_norm_statistics, (const float* partials, const float* counts, NormParameters p, u32 chunks, u32 rows,
                               u32 rows_per_chunk, u32 c)) {
    __shared__ double shared[THREADS];
    const u32 channel = blockIdx.x * blockDim.x + threadIdx.x, column = at_most(channel, c - 1);
    const double origin = partials[column];
    double sum = 0.0, squares = 0.0;
    for (u32 chunk = threadIdx.y; chunk < chunks; chunk += blockDim.y) {
        double count = counts ? counts[chunk] : (float)at_most(rows_per_chunk, rows - chunk * rows_per_chunk);
        double mean = partials[(u64)chunk * 2 * c + column] - origin;
        sum += count * mean;
        squares += partials[((u64)chunk * 2 + 1) * c + column] + count * mean * mean;
    }
    sum = add_rows(sum, shared);
    squares = add_rows(squares, shared);
    if (threadIdx.y != 0 || channel >= c) return;
    double offset = sum / rows;
    double variance = squares / rows - offset * offset;
    float mean = (float)(origin + offset), var = variance < 0.0 ? 0.0f : (float)variance;
    p.saved[channel] = mean;
    p.saved[c + channel] = var;
    fold(p, channel, c, mean, var, 0.0f);
    float unbias = (float)rows / (float)(rows > 1 ? rows - 1 : 1);
    p.running_mean[channel] += p.momentum * (mean - p.running_mean[channel]);
    p.running_var[channel] += p.momentum * (var * unbias - p.running_var[channel]);
}

// Scale and shift from the running statistics; `bias` (of a preceding convolution) may be null.
KERNEL(batch_norm_fold, (NormParameters p, const float* bias, u32 c)) {
    u32 channel = element();
    if (channel >= c) return;
    fold(p, channel, c, p.running_mean[channel], p.running_var[channel], bias ? bias[channel] : 0.0f);
}

// y = act(z * scale + shift)
template <class E, int N>
__device__ inline void batch_norm_apply(In z, const float* saved, Out y, u32 len, u32 c, int kind) {
    u32 i = element() * N;
    if (i >= len) return;
    u32 channel = i % c;
    float v[N], scale[N], shift[N];
    load<N>((const E*)z + i, v);
    load<N>(saved + 2 * c + channel, scale);
    load<N>(saved + 3 * c + channel, shift);
    with_kind(kind, [&](auto act) {
        for (int j = 0; j < N; j++) v[j] = activate(decltype(act)::of, v[j] * scale[j] + shift[j]);
    });
    store<N>((E*)y + i, v);
}
KERNELS(batch_norm_apply, (In z, const float* saved, Out y, u32 len, u32 c, int kind), (z, saved, y, len, c, kind))

// A norm's saved values at N channels, for its gradient.
template <int N> struct Norm {
    float mean[N], scale[N], shift[N];
    __device__ void read(const float* saved, u32 c, u32 channel) {
        load<N>(saved + channel, mean);
        load<N>(saved + 2 * c + channel, scale);
        load<N>(saved + 3 * c + channel, shift);
    }
    // The gradient of channel j's a, from the value z and the gradient of act(a).
    template <int KIND> __device__ float gradient(int j, float z, float dy) const {
        return activation_gradient(KIND, z * scale[j] + shift[j], dy);
    }
};

template <class E, int N, int KIND> struct GradientTerms {
    const E *z, *dy;
    u32 c;
    Norm<N> norm;
    __device__ void operator()(u32 row, u32 channel, float (&sums)[2][N]) const {
        float v[N], g[N];
        load<N>(z + row * c + channel, v);
        load<N>(dy + row * c + channel, g);
        for (int j = 0; j < N; j++) {
            float gradient = norm.template gradient<KIND>(j, v[j], g[j]);
            sums[0][j] += gradient;
            sums[1][j] += gradient * (v[j] - norm.mean[j]);
        }
    }
};

// partial sums of g and of g * (z - mean), with g the gradient of a
template <class E, int N>
__device__ inline void batch_norm_gradient_sums(In z, In dy, const float* saved, float* partials, u32 rows,
                                                u32 rows_per_chunk, u32 c, int kind, float* shared) {
    u32 channel = first_channel<N>();
    Norm<N> norm = {};
    if (channel < c) norm.read(saved, c, channel);
    with_kind(kind, [&](auto act) {
        GradientTerms<E, N, decltype(act)::of> terms = {(const E*)z, (const E*)dy, c, norm};
        column_sums<2, N>(terms, chunk_rows(rows, rows_per_chunk), c, shared, [&](u32 channel, const float (&sums)[2]) {
            *partial_at(partials, 2, 0, c, channel) = sums[0];
            *partial_at(partials, 2, 1, c, channel) = sums[1];
        });
    });
}
COLUMN_KERNELS(batch_norm_gradient_sums, 2,
               (In z, In dy, const float* saved, float* partials, u32 rows, u32 rows_per_chunk, u32 c, int kind), z, dy,
               saved, partials, rows, rows_per_chunk, c, kind)

// dbeta, dgamma, and in `through` the gradients through the mean ([c]) and the variance ([c]); blocks as above.
KERNEL(batch_norm_gradient_finish, (const float* partials, const float* saved, float* dgamma, float* dbeta,
                                    float* through, u32 chunks, u32 rows, u32 c, float eps)) {
    __shared__ double shared[THREADS];
    const u32 channel = blockIdx.x * blockDim.x + threadIdx.x, column = at_most(channel, c - 1);
    double sum = 0.0, product = 0.0;
    for (u32 chunk = threadIdx.y; chunk < chunks; chunk += blockDim.y) {
        sum += partials[(u64)chunk * 2 * c + column];
        product += partials[((u64)chunk * 2 + 1) * c + column];
    }
    sum = add_rows(sum, shared);
    product = add_rows(product, shared);
    if (threadIdx.y != 0 || channel >= c) return;
    double deviation = 1.0 / sqrt((double)saved[c + channel] + eps);
    double scale = (double)saved[2 * c + channel] / rows;
    dbeta[channel] = (float)sum;
    dgamma[channel] = (float)(product * deviation);
    through[channel] = (float)(scale * sum);
    through[c + channel] = (float)(scale * product * deviation * deviation);
}

// dz (+)= g * scale - through mean - (z - mean) * through variance
template <class E, int N>
__device__ inline void batch_norm_backward(In z, In dy, const float* saved, const float* through, Out dz, u32 len, u32 c,
                                           int kind, int add) {
    u32 i = element() * N;
    if (i >= len) return;
    u32 channel = i % c;
    float v[N], g[N], through_mean[N], through_var[N];
    load<N>((const E*)z + i, v);
    load<N>((const E*)dy + i, g);
    load<N>(through + channel, through_mean);
    load<N>(through + c + channel, through_var);
    Norm<N> norm;
    norm.read(saved, c, channel);
    with_kind(kind, [&](auto act) {
        for (int j = 0; j < N; j++) {
            float gradient = norm.template gradient<decltype(act)::of>(j, v[j], g[j]);
            g[j] = gradient * norm.scale[j] - through_mean[j] - (v[j] - norm.mean[j]) * through_var[j];
        }
    });
    put<N>((E*)dz + i, g, add);
}
KERNELS(batch_norm_backward,
        (In z, In dy, const float* saved, const float* through, Out dz, u32 len, u32 c, int kind, int add),
        (z, dy, saved, through, dz, len, c, kind, add))
