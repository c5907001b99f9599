// Activations, sums, scales, dropout and drop path. A thread has N adjacent elements.

// y = act(x)
template <class E, int N> __device__ inline void activation_forward(In x, Out y, u32 len, int kind) {
    u32 i = element() * N;
    if (i >= len) return;
    float v[N];
    load<N>((const E*)x + i, v);
    for (int j = 0; j < N; j++) v[j] = activate(kind, v[j]);
    store<N>((E*)y + i, v);
}
KERNELS(activation_forward, (In x, Out y, u32 len, int kind), (x, y, len, kind))

// dx (+)= dy * act'(x)
template <class E, int N>
__device__ inline void activation_backward(In x, In dy, Out dx, u32 len, int kind, int add) {
    u32 i = element() * N;
    if (i >= len) return;
    float v[N], g[N];
    load<N>((const E*)x + i, v);
    load<N>((const E*)dy + i, g);
    for (int j = 0; j < N; j++) v[j] = activation_gradient(kind, v[j], g[j]);
    put<N>((E*)dx + i, v, add);
}
KERNELS(activation_backward, (In x, In dy, Out dx, u32 len, int kind, int add), (x, dy, dx, len, kind, add))

// y = a + b
template <class E, int N> __device__ inline void sum_of_two(In a, In b, Out y, u32 len) {
    u32 i = element() * N;
    if (i >= len) return;
    float v[N], w[N];
    load<N>((const E*)a + i, v);
    load<N>((const E*)b + i, w);
    for (int j = 0; j < N; j++) v[j] += w[j];
    store<N>((E*)y + i, v);
}
KERNELS(sum_of_two, (In a, In b, Out y, u32 len), (a, b, y, len))

// y (+)= factor * x
template <class E, int N> __device__ inline void scaled_copy(In x, Out y, u32 len, float factor, int add) {
    u32 i = element() * N;
    if (i >= len) return;
    float v[N];
    load<N>((const E*)x + i, v);
    for (int j = 0; j < N; j++) v[j] *= factor;
    put<N>((E*)y + i, v, add);
}
KERNELS(scaled_copy, (In x, Out y, u32 len, float factor, int add), (x, y, len, factor, add))

// y[n, pixel, c] (+)= x[n, pixel, c] * s[n, c]; also the gradient with respect to x, from dy
template <class E, int N>
__device__ inline void scale_channels(In x, const float* s, Out y, u32 len, u32 image, u32 c, int add) {
    u32 i = element() * N;
    if (i >= len) return;
    float v[N], factors[N];
    load<N>((const E*)x + i, v);
    load<N>(s + i / image * c + i % c, factors);
    for (int j = 0; j < N; j++) v[j] *= factors[j];
    put<N>((E*)y + i, v, add);
}
KERNELS(scale_channels, (In x, const float* s, Out y, u32 len, u32 image, u32 c, int add), (x, s, y, len, image, c, add))

// SplitMix64, as in the host's crate `random`, so that both engines drop the same elements.
__device__ inline u64 mix(u64 z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

// The initial state of a seed's stream with this number.
__device__ inline u64 stream_of(u64 seed, u64 stream) { return mix(seed ^ mix(stream + 0x9E3779B97F4A7C15ULL)); }

// Draw number i of a stream that starts at `state`, in [0, 1) with 24 bits.
__device__ inline float uniform(u64 state, u64 i) {
    u64 bits = mix(state + (i + 1) * 0x9E3779B97F4A7C15ULL);
    return (float)(u32)(bits >> 40) / 16777216.0f;
}

// y (+)= x where kept, scaled; `unit` elements share a draw (one for dropout, an image for drop path). Linear, so its
// gradient is the same function. The seed is read from memory, so that a recorded step makes new draws at each replay.
template <class E, int N>
__device__ inline void drop(In x, Out y, u32 len, u32 unit, const u64* seed, u32 stream, float rate, float kept, int add) {
    u32 i = element() * N;
    if (i >= len) return;
    u64 state = stream_of(*seed, stream);
    float v[N];
    load<N>((const E*)x + i, v);
    for (int j = 0; j < N; j++) v[j] *= uniform(state, (i + j) / unit) < rate ? 0.0f : kept;
    put<N>((E*)y + i, v, add);
}
KERNELS(drop, (In x, Out y, u32 len, u32 unit, const u64* seed, u32 stream, float rate, float kept, int add),
        (x, y, len, unit, seed, stream, rate, kept, add))

// y = x, from f32 in memory to the program's elements: for images, and for the gradients of a class map before they
// enter its convolution.
KERNEL(from_f32, (const float* x, Element* y, u32 len)) {
    u32 i = element();
    if (i < len) set_value(y + i, x[i]);
}

// y = x, 16 bytes per thread
KERNEL(copy, (const float4* x, float4* y, u32 len)) {
    u32 i = element();
    if (i < len) y[i] = x[i];
}

// y = value
KERNEL(fill, (float* y, u32 len, float value)) {
    u32 i = element();
    if (i < len) y[i] = value;
}
