// Linear layers on one vector per image: a network's head, and the 1x1 convolutions of squeeze-excite. All in f32;
// weights [cin, cout].

// y[n, o] = act(sum over c of x[n, c] * w[c, o] + bias[o]). A block is `blockDim.x` outputs of an image by `blockDim.y`
// parts of the sum.
KERNEL(linear_forward, (const float* x, const float* w, const float* bias, float* y, u32 cin, u32 cout, int kind)) {
    __shared__ float shared[COLUMNS_SHARED(1, 1)];
    const u32 o = blockIdx.x * blockDim.x + threadIdx.x, column = at_most(o, cout - 1);
    x += blockIdx.y * cin;
    float sum[1][1] = {};
#pragma unroll 8
    for (u32 c = threadIdx.y; c < cin; c += blockDim.y) sum[0][0] += x[c] * w[c * cout + column];
    add_columns<1, 1>(sum, cout, shared, [&](u32 o, const float (&sums)[1]) {
        y[blockIdx.y * cout + o] = activate(kind, bias ? sums[0] + bias[o] : sums[0]);
    });
}

// dx[n, c] (+)= sum over o of dy[n, o] * w[c, o]. A block is 32 parts of the sum by 8 c; a part is every 32nd o, so
// that neighbouring threads read adjacent elements.
KERNEL(linear_backward_input, (const float* dy, const float* w, float* dx, u32 cin, u32 cout, int add)) {
    __shared__ float shared[THREADS];
    const u32 c = blockIdx.x * 8 + threadIdx.y, row = at_most(c, cin - 1) * cout;
    dy += blockIdx.y * cout;
    float sum = 0.0f;
#pragma unroll 4
    for (u32 o = threadIdx.x; o < cout; o += 32) sum += dy[o] * w[row + o];
    const u32 slot = threadIdx.y * 32 + threadIdx.x;
    shared[slot] = sum;
    __syncthreads();
    for (u32 half = 16; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[slot] += shared[slot + half];
        __syncthreads();
    }
    if (threadIdx.x != 0 || c >= cin) return;
    float* to = dx + blockIdx.y * cin + c;
    *to = add ? *to + shared[slot] : shared[slot];
}

// dw[c, o] = sum over images of x[n, c] * dy[n, o]; row cin, if there is a bias, is its gradient. One thread per
// element.
KERNEL(linear_backward_weight, (const float* x, const float* dy, float* dw, float* db, u32 n, u32 cin, u32 cout)) {
    u32 i = element();
    if (i >= (cin + (db ? 1 : 0)) * cout) return;
    u32 c = i / cout, o = i % cout;
    float sum = 0.0f;
#pragma unroll 4
    for (u32 image = 0; image < n; image++) sum += (c < cin ? x[image * cin + c] : 1.0f) * dy[image * cout + o];
    *(c < cin ? dw + i : db + o) = sum;
}
