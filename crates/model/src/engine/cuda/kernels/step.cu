// The inputs (Controls) and outputs (Results) of a training step, and sums over blocks. Used by class_loss.cu,
// map_loss.cu and optimizer.cu, which contain everything in a step except the network.
//
// A step is recorded once and replayed, so values that change from step to step are not launch arguments: they are in
// the controls, which the host writes before each step. Launches do not depend on a batch's content either: a map
// without a known pixel has a share of 0 in its controls, so that its loss and its gradient are 0.

namespace training {

// The settings of an update that depend on the learning rate and on the number of the step.
struct Rates {
    float rate;         // learning rate
    float shrinkage;    // learning rate times weight decay, independent of the gradient; Decayed only
    float correction1;  // Adam: 1 / (1 - beta1^t)
    float correction2;  // Adam: 1 / (1 - beta2^t)
};

// A step's settings. Mirrors `Controls` on the host.
struct Controls {
    double clip_norm;         // norm above which all gradients are scaled down; 0 for never
    Rates rates;              // of all values except the encoder's, where these are updated differently
    Rates encoder;            // of the encoder's
    u32 frozen;               // whether the encoder's values and moments are left as they are
    float penalty;            // factor of the L2 penalty in the gradient; Decayed only
    float epsilon;
    float keep1, take1;       // Adam: beta1, 1 - beta1; SGD and RMSprop: momentum, unused
    float keep2, take2;       // Adam: beta2, 1 - beta2; RMSprop: alpha, 1 - alpha
    u32 nesterov;             // SGD: whether to use Nesterov momentum
    float ema_share;          // average += share * (value - average)
    float smoothing;          // label smoothing: the share of a label that is spread over the classes
    float map_weight;         // factor of the maps' mean loss in the total loss
    float entropy, overlap;   // map losses: 1 if the loss has this term, else 0
    float marked, unmarked;   // on one class: factors of the entropy of marked and of unmarked pixels
    float gamma;              // on one class: power of 1 - p in the entropy; 0 for none
    float false_positives;    // on one class: factor of false positives in the overlap's denominator
    float false_negatives;    // the same for false negatives
    u32 mixed;                // whether images are mixed: then the class loss is divided by their number
    float share;              // the own label's share of an image's target, the rest is its partner's; 1 if not mixed
};
static_assert(sizeof(Controls) == 120, "Controls are laid out as on the host");

// A map's settings; those of all maps follow the controls.
struct MapControls {
    float mean;   // 1 / known pixels; 0 if there are none
    float share;  // 1 / maps with a known pixel; 0 if this one has none
};
static_assert(sizeof(MapControls) == 8, "MapControls are laid out as on the host");

__device__ inline MapControls map_controls(const Controls* controls, u32 map) {
    return ((const MapControls*)(controls + 1))[map];
}

// A step's results. Mirrors `Results` on the host. Followed by each map's loss.
struct Results {
    double norm;       // of all gradients together, before clipping
    float class_loss;  // 0 if there is none
    float map_loss;    // mean over the maps with a known pixel; 0 if there are none
    float loss;        // class_loss + map_weight * map_loss
    float scale;       // factor applied to the gradients; 1 if they were not clipped
    u32 hits;          // rows of the class scores whose first maximum is the label's
    u32 maps;          // number of maps with a known pixel
    u32 applied;       // 1 if weights, moments and averages were updated, 0 if loss or norm is not finite
    u32 unused;
};
static_assert(sizeof(Results) == 40, "Results are laid out as on the host");

__device__ inline float* map_losses(Results* results) { return (float*)(results + 1); }

// A product that is rounded before it is used in a sum. Otherwise compilers fuse the two where the hardware allows it,
// and the update rules would differ from the host's in the last bits.
#ifdef __CUDA_ARCH__
__device__ inline float product(float a, float b) { return __fmul_rn(a, b); }
#else
__attribute__((noinline)) static float product(float a, float b) { return a * b; }
#endif

// The sum of the block's values, for every thread, in an order that does not depend on their timing; `shared` holds
// THREADS doubles. All threads must call it.
__device__ inline double block_sum(double value, double* shared) {
    shared[threadIdx.x] = value;
    __syncthreads();
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        __syncthreads();
    }
    double sum = shared[0];
    __syncthreads();  // the next sum overwrites it
    return sum;
}

// out[t] = sum of the threads' sums[t]; `shared` holds TERMS * THREADS floats. All threads must call it.
template <int TERMS>
__device__ inline void chunk_sums(const float (&sums)[TERMS], float* out, float* shared) {
    for (int t = 0; t < TERMS; t++) shared[t * THREADS + threadIdx.x] = sums[t];
    __syncthreads();
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half)
            for (int t = 0; t < TERMS; t++)
                shared[t * THREADS + threadIdx.x] += shared[t * THREADS + threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x < TERMS) out[threadIdx.x] = shared[threadIdx.x * THREADS];
}

// Terms that `finish_sums` adds in one round, and the number of lanes of chunks.
const u32 LANES = 16;

// totals[t] = sum over chunks of partials[chunk][t], in double; `shared` holds THREADS doubles, `totals` is in shared
// memory too. All threads must call it.
template <int TERMS>
__device__ inline void finish_sums(const float* partials, u32 chunks, double* totals, double* shared) {
    static_assert(TERMS <= LANES && LANES * LANES == THREADS, "a thread has one term and one lane");
    u32 term = threadIdx.x % LANES;
    double sum = 0.0;
    if (term < TERMS)
        for (u32 chunk = threadIdx.x / LANES; chunk < chunks; chunk += LANES) sum += partials[chunk * TERMS + term];
    shared[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x < TERMS) {
        double total = 0.0;
        for (u32 lane = 0; lane < LANES; lane++) total += shared[lane * LANES + threadIdx.x];
        totals[threadIdx.x] = total;
    }
    __syncthreads();
}

// The range of elements of a chunk.
struct Chunk {
    u32 begin, end;
};

__device__ inline Chunk chunk_of(u32 number, u32 per_chunk, u32 len) {
    u32 begin = number * per_chunk;
    u32 end = begin + per_chunk;
    return {begin < len ? begin : len, end < len ? end : len};
}

}  // namespace training
