// Batch norm (Ioffe & Szegedy 2015) with the activation that follows it: a = z * scale + shift, y = act(a). The backward
// pass computes a again rather than read it.

// origin[c] = mean of up to 32 pixels spread over z: sums are taken about it, so that a large mean does not swamp a
// small variance
KERNEL(sample_mean, (const float* z, float* origin, u32 pixels, u32 c)) {
    u32 channel = element();
    if (channel >= c) return;
    u32 count = pixels < 32 ? pixels : 32;
    float sum = 0.0f;
    for (u32 i = 0; i < count; i++) sum += z[(u32)((u64)pixels * i / count) * c + channel];
    origin[channel] = sum / (float)count;
}

struct MomentTerms {
    const float* z;
    const float* origin;
    u32 c;
    __device__ void operator()(u32 row, u32 channel, float* sums) const {
        float d = z[row * c + channel] - origin[channel];
        sums[0] += d;
        sums[1] += d * d;
    }
};

KERNEL(batch_norm_moments, (const float* z, const float* origin, float* partials, u32 rows, u32 rows_per_chunk, u32 c)) {
    __shared__ float shared[2 * THREADS];
    MomentTerms terms = {z, origin, c};
    column_sums<2>(terms, chunk_rows(rows, rows_per_chunk), c, partials, shared);
}

// mean and biased var from the partial moments
KERNEL(batch_norm_statistics,
       (const float* partials, const float* origin, float* mean, float* var, u32 chunks, u32 rows, u32 c)) {
    u32 channel = element();
    if (channel >= c) return;
    double sum = 0.0, squares = 0.0;
    for (u32 chunk = 0; chunk < chunks; chunk++) {
        sum += partials[(u64)chunk * 2 * c + channel];
        squares += partials[((u64)chunk * 2 + 1) * c + channel];
    }
    double offset = sum / rows;
    double variance = squares / rows - offset * offset;
    mean[channel] = (float)((double)origin[channel] + offset);
    var[channel] = variance < 0.0 ? 0.0f : (float)variance;  // a NaN stays
}

// scale = gamma / sqrt(var + eps), shift = beta + (bias - mean) * scale; `bias` (of a convolution before it) may be null
KERNEL(batch_norm_fold, (const float* gamma, const float* beta, const float* mean, const float* var, const float* bias,
                         float* scale, float* shift, u32 c, float eps)) {
    u32 channel = element();
    if (channel >= c) return;
    float s = gamma[channel] / sqrtf(var[channel] + eps);
    float b = bias ? bias[channel] : 0.0f;
    scale[channel] = s;
    shift[channel] = beta[channel] + (b - mean[channel]) * s;
}

// y = act(z * scale + shift)
KERNEL(batch_norm_apply, (const float* z, const float* scale, const float* shift, float* y, u32 len, u32 c, int kind)) {
    u32 i = element();
    if (i < len) y[i] = activate(kind, z[i] * scale[i % c] + shift[i % c]);
}

// A norm's saved values, [mean, var, scale, shift] of c each.
struct Norm {
    const float* saved;
    u32 c;
    float eps;
    __device__ float mean(u32 i) const { return saved[i]; }
    __device__ float deviation(u32 i) const { return 1.0f / sqrtf(saved[c + i] + eps); }
    __device__ float scale(u32 i) const { return saved[2 * c + i]; }
    __device__ float shift(u32 i) const { return saved[3 * c + i]; }
};

struct GradientTerms {
    const float *z, *dy;
    Norm norm;
    int kind;
    __device__ void operator()(u32 row, u32 channel, float* sums) const {
        float value = z[row * norm.c + channel];
        float a = value * norm.scale(channel) + norm.shift(channel);
        float g = activation_gradient(kind, a, dy[row * norm.c + channel]);
        sums[0] += g;
        sums[1] += g * (value - norm.mean(channel)) * norm.deviation(channel);
    }
};

// partial sums of g and of g * (z - mean) / sqrt(var + eps), with g the gradient of a
KERNEL(batch_norm_gradient_sums, (const float* z, const float* dy, const float* saved, float* partials, u32 rows,
                                  u32 rows_per_chunk, u32 c, float eps, int kind)) {
    __shared__ float shared[2 * THREADS];
    GradientTerms terms = {z, dy, {saved, c, eps}, kind};
    column_sums<2>(terms, chunk_rows(rows, rows_per_chunk), c, partials, shared);
}

// dbeta, dgamma, and in `through` what flows back through mean ([c]) and variance ([c])
KERNEL(batch_norm_gradient_finish, (const float* partials, const float* saved, float* dgamma, float* dbeta,
                                    float* through, u32 chunks, u32 rows, u32 c, float eps)) {
    u32 channel = element();
    if (channel >= c) return;
    Norm norm = {saved, c, eps};
    double sum = 0.0, product = 0.0;
    for (u32 chunk = 0; chunk < chunks; chunk++) {
        sum += partials[(u64)chunk * 2 * c + channel];
        product += partials[((u64)chunk * 2 + 1) * c + channel];
    }
    dbeta[channel] = (float)sum;
    dgamma[channel] = (float)product;
    double scale = (double)norm.scale(channel) / rows;
    through[channel] = (float)(scale * sum);
    through[c + channel] = (float)(scale * product * norm.deviation(channel));
}

// dz (+)= g * scale - through mean - (z - mean) * through variance
KERNEL(batch_norm_backward, (const float* z, const float* dy, const float* saved, const float* through, float* dz,
                             u32 len, u32 c, float eps, int kind, int add)) {
    u32 i = element();
    if (i >= len) return;
    Norm norm = {saved, c, eps};
    u32 channel = i % c;
    float g = activation_gradient(kind, z[i] * norm.scale(channel) + norm.shift(channel), dy[i]);
    float direct = g * norm.scale(channel) - through[channel];
    put(dz + i, direct - (z[i] - norm.mean(channel)) * through[c + channel], add);
}
