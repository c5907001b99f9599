// GPU instructions that have no equivalent in C++. The tests' host defines the same names itself, so this is the only
// file that it does not compile.

__device__ inline u32 bits_of(float x) { return __float_as_uint(x); }
__device__ inline float float_of(u32 bits) { return __uint_as_float(bits); }

// Accurate to two units in the last place.
__device__ inline float fast_exp(float x) { return __expf(x); }
__device__ inline float fast_divide(float a, float b) { return __fdividef(a, b); }

#if PRECISION != F32

// Rounds to nearest, ties to even; `low` is in the lower half.
__device__ inline u32 pack_bf16(float low, float high) {
    u32 packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
}

// Rounds to ten bits of mantissa, to nearest, ties away from zero: the form of an f32 that tensor cores require.
__device__ inline u32 round_tf32(u32 bits) {
    u32 rounded;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(__uint_as_float(bits)));
    return rounded;
}

// c += a * b for a warp, MT x NT products of 16 x 8: 16 rows of a with 16 (bf16) or 8 (tf32) values each, and 8 columns
// of b with as many; each thread holds its part.
template <int MT, int NT>
__device__ inline void multiply(float (&c)[MT][NT][4], const u32 (&a)[MT][4], const u32 (&b)[NT][2]) {
#pragma unroll
    for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < NT; j++)
#if PRECISION == BF16
            asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                : "+f"(c[i][j][0]), "+f"(c[i][j][1]), "+f"(c[i][j][2]), "+f"(c[i][j][3])
                : "r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]), "r"(b[j][0]), "r"(b[j][1]));
#else
            asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                : "+f"(c[i][j][0]), "+f"(c[i][j][1]), "+f"(c[i][j][2]), "+f"(c[i][j][3])
                : "r"(a[i][0]), "r"(a[i][1]), "r"(a[i][2]), "r"(a[i][3]), "r"(b[j][0]), "r"(b[j][1]));
#endif
}

__device__ inline u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// Four 8x8 matrices of 16 bits from shared memory: `row(t)` is the start of row t % 8 of matrix t / 8, for each thread
// t of a warp. From each matrix a thread gets the two elements from 2 (t % 4) on of row t / 4 (transposed: of
// column t / 4).
template <class Row> __device__ inline void load_matrices(u32 (&r)[4], const Row& row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row(threadIdx.x % 32))));
}
template <class Row> __device__ inline void load_matrices_transposed(u32 (&r)[4], const Row& row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row(threadIdx.x % 32))));
}

#endif

// Copies 16 bytes to shared memory asynchronously, or zeros if `inside` is false; `copies_wait<N>` returns when all but
// the last N groups closed by `copies_commit` have arrived (for the calling thread; the others need a barrier).
#if __CUDA_ARCH__ >= 800
__device__ inline void copy_async(void* to, const void* from, bool inside) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from),
                 "r"(inside ? 16 : 0)
                 : "memory");
}
__device__ inline void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> __device__ inline void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
#else
__device__ inline void copy_async(void* to, const void* from, bool inside) {
    *(uint4*)to = inside ? *(const uint4*)from : make_uint4(0, 0, 0, 0);
}
__device__ inline void copies_commit() {}
template <int N> __device__ inline void copies_wait() {}
#endif
