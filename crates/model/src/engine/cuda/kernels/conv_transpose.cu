// Transposed 2x2 convolution of stride 2: y[2i+a, 2j+b, o] = sum over c of x[i, j, c] * w[c, a, b, o]; weights
// [cin, 2, 2, cout]. `h` and `w` are those of x.

struct Up {
    int n, h, w, cin, cout;
};
static_assert(sizeof(Up) == 20, "Up is laid out as on the host");

// The offset in y of the element `i` (corner and channel) of the 2x2 pixels above a pixel of x.
__device__ inline u32 above(const Up& s, const Pixel& p, u32 i) {
    u32 corner = i / (u32)s.cout;
    return offset(p.n, 2 * p.y + (int)(corner / 2), 2 * p.x + (int)(corner % 2), 2 * s.h, 2 * s.w, s.cout) +
           i % (u32)s.cout;
}

// The values above each pixel of x: a side is a pixel, k a corner and channel.
struct Above {
    typedef Pixel Side;
    typedef u32 Depth;
    const Up& s;
    const Element* data;
    bool wide;
    __device__ Side side(u32 m) const { return pixel_at(m, s.h, s.w); }
    __device__ Depth depth(u32 k) const { return k; }
    __device__ void move(Depth& d, int step) const { d += step; }
    __device__ const Element* at(const Side& p, Depth k) const { return data + above(s, p, k); }
};

// The same with side and k exchanged.
struct AboveByPixel {
    typedef u32 Side;
    typedef Pixel Depth;
    const Up& s;
    const Element* data;
    bool wide;
    __device__ Side side(u32 n) const { return n; }
    __device__ Depth depth(u32 k) const { return pixel_at(k, s.h, s.w); }
    __device__ void move(Depth& d, int step) const { advance(d, step, s.h, s.w); }
    __device__ const Element* at(Side i, const Depth& p) const { return data + above(s, p, i); }
};

struct Scattered : NoMoments {
    const Up& s;
    const float* bias;
    Element* y;
    bool wide;
    __device__ Scattered(const Up& s, const float* bias, Element* y, bool wide) : s(s), bias(bias), y(y), wide(wide) {}
    __device__ void store(u32 m, u32 n, int count, float* values) const {
        Pixel p = pixel_at(m, s.h, s.w);
        if (bias)
            for (int i = 0; i < count; i++) values[i] += bias[(n + i) % (u32)s.cout];
        if (wide) {
            put_row(y + above(s, p, n), count, values, true, 0);
        } else {
            for (int i = 0; i < count; i++) put_row(y + above(s, p, n + i), 1, values + i, false, 0);
        }
    }
};

struct IntoInput : NoMoments {
    Element* dx;
    u32 cols;
    bool wide;
    int add;
    __device__ IntoInput(Element* dx, u32 cols, bool wide, int add) : dx(dx), cols(cols), wide(wide), add(add) {}
    __device__ void store(u32 m, u32 n, int count, const float* values) const {
        put_row(dx + m * cols + n, count, values, wide, add);
    }
};

// `wide_x`: whether cin is a multiple of WIDE; `wide_y`: whether cout is, and the weights are aligned.
GEMM_KERNELS(conv_transpose_forward, true, false,
             (const __grid_constant__ Up s, const Element* x, const Element* w, const float* bias, Element* y, int wide_x,
              int wide_y),
             u32 rows = (u32)s.n * s.h * s.w; u32 cols = 4 * s.cout; Matrix a = {x, (u32)s.cin, 1, wide_x != 0};
             Matrix b = {w, 1, cols, wide_y != 0}; Scattered problem(s, bias, y, wide_y != 0); u32 k_begin = 0;
             u32 k_end = s.cin;)

GEMM_KERNELS(conv_transpose_backward_input, true, true,
             (const __grid_constant__ Up s, const Element* dy, const Element* w, Element* dx, int add, int wide_x,
              int wide_y),
             u32 rows = (u32)s.n * s.h * s.w; u32 cols = s.cin; Above a = {s, dy, wide_y != 0};
             Matrix b = {w, 4u * s.cout, 1, wide_y != 0}; IntoInput problem(dx, cols, wide_x != 0, add);
             u32 k_begin = 0; u32 k_end = 4 * s.cout;)

GEMM_KERNELS(conv_transpose_backward_weight, false, false,
             (const __grid_constant__ Up s, const Element* x, const Element* dy, float* partials, u32 slice, int wide_x,
              int wide_y),
             u32 rows = s.cin; u32 cols = 4 * s.cout; Matrix a = {x, 1, rows, wide_x != 0};
             AboveByPixel b = {s, dy, wide_y != 0}; SLICE((u32)s.n * s.h * s.w)
             Partial problem(partials + (u64)blockIdx.z * rows * cols, cols, wide_y != 0);)
