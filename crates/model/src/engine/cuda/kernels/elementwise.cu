// Activations, sums, scales, and the two kinds of dropping. One thread an element.

// y = act(x)
KERNEL(activation_forward, (const float* x, float* y, u32 len, int kind)) {
    u32 i = element();
    if (i < len) y[i] = activate(kind, x[i]);
}

// dx (+)= dy * act'(x)
KERNEL(activation_backward, (const float* x, const float* dy, float* dx, u32 len, int kind, int add)) {
    u32 i = element();
    if (i < len) put(dx + i, activation_gradient(kind, x[i], dy[i]), add);
}

// y = a + b
KERNEL(add, (const float* a, const float* b, float* y, u32 len)) {
    u32 i = element();
    if (i < len) y[i] = a[i] + b[i];
}

// y (+)= factor * x
KERNEL(scaled_copy, (const float* x, float* y, u32 len, float factor, int accumulate)) {
    u32 i = element();
    if (i < len) put(y + i, factor * x[i], accumulate);
}

// y = value
KERNEL(fill, (float* y, u32 len, float value)) {
    u32 i = element();
    if (i < len) y[i] = value;
}

// y[n, pixel, c] (+)= x[n, pixel, c] * s[n, c]; also the gradient with respect to x, from dy
KERNEL(scale_channels, (const float* x, const float* s, float* y, u32 len, u32 image, u32 c, int accumulate)) {
    u32 i = element();
    if (i < len) put(y + i, x[i] * s[i / image * c + i % c], accumulate);
}

// The SplitMix64 of the host's `rng.rs`, so that both engines drop the same elements.
__device__ inline u64 mix(u64 z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

// The draw with number i of a stream that starts at `state`, in [0, 1) with 24 bits.
__device__ inline float uniform(u64 state, u64 i) {
    u64 bits = mix(state + (i + 1) * 0x9E3779B97F4A7C15ULL);
    return (float)(u32)(bits >> 40) / 16777216.0f;
}

// y (+)= x where kept, scaled; `unit` elements share a draw (one for dropout, an image for drop path). Linear, so its
// gradient is itself.
KERNEL(drop, (const float* x, float* y, u32 len, u32 unit, u64 state, float rate, float kept, int accumulate)) {
    u32 i = element();
    if (i < len) put(y + i, x[i] * (uniform(state, i / unit) < rate ? 0.0f : kept), accumulate);
}
