// Transposed 2x2 convolution of stride 2: y[2i+a, 2j+b, o] = sum over c of x[i, j, c] * w[c, a, b, o]; weights
// [cin, 2, 2, cout]. `h` and `w` are x's.

struct Up {
    int n, h, w, cin, cout;
};
static_assert(sizeof(Up) == 20, "Up is laid out as on the host");

// A corner of the 2x2 and a channel out.
struct Corner {
    int a, b, o;
};

__device__ inline Corner corner_of(const Up& s, u32 i) {
    int tap = i / (u32)s.cout;
    return {tap / 2, tap % 2, (int)(i % (u32)s.cout)};
}

// The offset in y of a corner above a pixel of x.
__device__ inline u32 above(const Up& s, const Pixel& p, const Corner& q) {
    return offset(p.n, 2 * p.y + q.a, 2 * p.x + q.b, 2 * s.h, 2 * s.w, s.cout) + q.o;
}

struct UpForward {
    typedef u32 Row;
    typedef u32 Col;
    typedef u32 Depth;
    Up s;
    const float *x, *w, *bias;
    float* y;
    __device__ Row row(u32 m) const { return m * s.cin; }
    __device__ Col col(u32 n) const { return n; }
    __device__ Depth depth(u32 k) const { return k; }
    __device__ float a(Row r, Depth k) const { return x[r + k]; }
    __device__ float b(Depth k, Col n) const { return w[k * 4 * s.cout + n]; }
    __device__ void store(u32 m, u32 n, float sum) const {
        Corner q = corner_of(s, n);
        y[above(s, pixel_at(m, s.h, s.w), q)] = bias ? sum + bias[q.o] : sum;
    }
};

GEMM_KERNELS(conv_transpose_forward, true, false,
             (Up s, const float* x, const float* w, const float* bias, float* y),
             UpForward problem = {s, x, w, bias, y}; u32 rows = (u32)s.n * s.h * s.w; u32 cols = 4 * s.cout;
             u32 k_begin = 0; u32 k_end = s.cin;)

struct UpBackwardInput {
    typedef Pixel Row;
    typedef u32 Col;
    struct Depth {
        Corner corner;
        u32 k;
    };
    Up s;
    const float *dy, *w;
    float* dx;
    int add;
    __device__ Row row(u32 m) const { return pixel_at(m, s.h, s.w); }
    __device__ Col col(u32 n) const { return n * 4 * s.cout; }
    __device__ Depth depth(u32 k) const { return {corner_of(s, k), k}; }
    __device__ float a(const Row& p, const Depth& d) const { return dy[above(s, p, d.corner)]; }
    __device__ float b(const Depth& d, Col n) const { return w[n + d.k]; }
    __device__ void store(u32 m, u32 n, float sum) const { put(dx + m * s.cin + n, sum, add); }
};

GEMM_KERNELS(conv_transpose_backward_input, true, true,
             (Up s, const float* dy, const float* w, float* dx, int add),
             UpBackwardInput problem = {s, dy, w, dx, add}; u32 rows = (u32)s.n * s.h * s.w; u32 cols = s.cin;
             u32 k_begin = 0; u32 k_end = 4 * s.cout;)

struct UpBackwardWeight {
    typedef u32 Row;
    typedef Corner Col;
    struct Depth {
        Pixel pixel;
        u32 row;
    };
    Up s;
    const float *x, *dy;
    float* out;
    __device__ Row row(u32 m) const { return m; }
    __device__ Col col(u32 n) const { return corner_of(s, n); }
    __device__ Depth depth(u32 k) const { return {pixel_at(k, s.h, s.w), k * s.cin}; }
    __device__ float a(Row c, const Depth& d) const { return x[d.row + c]; }
    __device__ float b(const Depth& d, const Col& q) const { return dy[above(s, d.pixel, q)]; }
    __device__ void store(u32 m, u32 n, float sum) const { out[(u64)m * 4 * s.cout + n] = sum; }
};

GEMM_KERNELS(conv_transpose_backward_weight, false, false,
             (Up s, const float* x, const float* dy, float* partials, u32 slice),
             u32 pixels = (u32)s.n * s.h * s.w; u32 rows = s.cin; u32 cols = 4 * s.cout;
             u32 k_begin = at_most(blockIdx.z * slice, pixels); u32 k_end = at_most(k_begin + slice, pixels);
             UpBackwardWeight problem = {s, x, dy, partials + (u64)blockIdx.z * rows * cols};)
