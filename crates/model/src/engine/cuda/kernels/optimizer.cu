// The end of a step: the gradients' norm, whether the step is applied, and one pass over all weights that clips,
// updates by the optimizer's rule, adds the new values to the moving average, and rounds a copy for bf16 products.
//
// Weights, gradients, moments and averages are each one contiguous range of memory with the groups Decayed, Plain and
// (for weights and averages) Buffers one after another, each starting at a multiple of GROUP elements, as in `Groups`
// on the host. The gaps between groups are neither read nor written.
//
// The rules are those of the host's `kernels::update`, operation by operation in f32, so that equal gradients give equal
// bits.

namespace training {

typedef unsigned short u16;

const u32 GROUP = 64;

__device__ inline u32 group_end(u32 len) { return (len + GROUP - 1) / GROUP * GROUP; }

// Four values, which a thread loads and stores at once.
struct alignas(16) Four {
    float x[4];
};
struct alignas(8) FourHalves {
    u16 x[4];
};

// The next four of `left` values, 0 beyond the end. Loops over the four have a constant bound, so that the values stay
// in registers.
__device__ inline Four read_four(const float* from, u32 left) {
    if (left >= 4) return *(const Four*)from;
    Four four = {};
    for (u32 k = 0; k < 4; k++)
        if (k < left) four.x[k] = from[k];
    return four;
}

__device__ inline void write_four(float* to, u32 left, const Four& four) {
    if (left >= 4) {
        *(Four*)to = four;
        return;
    }
    for (u32 k = 0; k < 4; k++)
        if (k < left) to[k] = four.x[k];
}

// Rounds to nearest, ties to even. A NaN stays a NaN.
__device__ inline u16 to_bf16(float value) {
    union {
        float value;
        u32 bits;
    } as = {value};
    if ((as.bits & 0x7FFFFFFFu) > 0x7F800000u) return (u16)(as.bits >> 16 | 0x40);
    return (u16)((as.bits + 0x7FFF + (as.bits >> 16 & 1)) >> 16);
}

__device__ inline void write_halves(u16* to, u32 left, const Four& four) {
    FourHalves halves;
    for (u32 k = 0; k < 4; k++) halves.x[k] = to_bf16(four.x[k]);
    if (left >= 4) {
        *(FourHalves*)to = halves;
        return;
    }
    for (u32 k = 0; k < 4; k++)
        if (k < left) to[k] = halves.x[k];
}

// Lengths of the groups. The first values of the trainable ones may be the encoder's, which are updated differently.
struct Lengths {
    u32 decayed, plain, buffers, encoder_decayed, encoder_plain;
};

// A thread's values: four from `at` on (an offset in the range of memory), with `left` values up to the group's end, of
// which the first `encoder` are the encoder's.
struct Place {
    u32 at, left, encoder;
    bool decayed, trained;
};

// Blocks cover Decayed, then Plain, then Buffers, with four values per thread.
__device__ inline Place place(const Lengths& lengths) {
    u32 block = blockIdx.x, start = 0, len = lengths.decayed, group = 0;
    u32 blocks = (len + 4 * THREADS - 1) / (4 * THREADS);
    while (block >= blocks && group < 2) {
        block -= blocks;
        start += group_end(len);
        len = group == 0 ? lengths.plain : lengths.buffers;
        blocks = (len + 4 * THREADS - 1) / (4 * THREADS);
        group++;
    }
    u32 i = (block * THREADS + threadIdx.x) * 4;
    u32 encoder = group == 0 ? lengths.encoder_decayed : group == 1 ? lengths.encoder_plain : 0;
    return {start + i, i < len ? len - i : 0, i < encoder ? encoder - i : 0, group == 0, group < 2};
}

// A rule takes a weight, its gradient and its moments, updates the moments and returns the amount to subtract from the
// weight.

// Kingma & Ba 2015; with shrinkage, Loshchilov & Hutter 2019.
struct Adam {
    __device__ static float change(const Controls& c, const Rates& r, bool decayed, float p, float g, float& m, float& v) {
        if (decayed && c.penalty > 0.0f) g += product(c.penalty, p);
        m = product(m, c.keep1) + product(g, c.take1);
        v = product(v, c.keep2) + product(product(g, g), c.take2);
        float change = product(r.rate, product(m, r.correction1)) / (sqrtf(product(v, r.correction2)) + c.epsilon);
        if (decayed && r.shrinkage > 0.0f) change += product(r.shrinkage, p);
        return change;
    }
};

// Without momentum the velocity is left unchanged.
struct Sgd {
    __device__ static float change(const Controls& c, const Rates& r, bool decayed, float p, float g, float& velocity, float&) {
        if (decayed && c.penalty > 0.0f) g += product(c.penalty, p);
        if (c.keep1 == 0.0f) return product(g, r.rate);
        velocity = g + product(c.keep1, velocity);
        if (c.nesterov) return product(g + product(c.keep1, velocity), r.rate);
        return product(velocity, r.rate);
    }
};

// Hinton 2012, with epsilon under the root as in TensorFlow.
struct RmsProp {
    __device__ static float change(const Controls& c, const Rates& r, bool decayed, float p, float g, float& velocity, float& square) {
        if (decayed && c.penalty > 0.0f) g += product(c.penalty, p);
        square += product(c.take2, product(g, g) - square);
        g /= sqrtf(square + c.epsilon);
        if (c.keep1 == 0.0f) return product(g, r.rate);
        velocity = product(velocity, c.keep1) + g;
        return product(velocity, r.rate);
    }
};

// Memory that an update reads and writes; null where it does not exist.
struct Memory {
    float* weights;
    const float* gradients;
    float *first, *second;  // moments
    float* average;
    u16* halves;
};

// Computes and writes the new values of a thread's weights.
template <class Rule>
__device__ inline void train(const Memory& memory, const Place& place, const Controls& controls, float scale, Four& p) {
    float *first = memory.first, *second = memory.second;
    Four g = read_four(memory.gradients + place.at, place.left), m = {}, v = {};
    if (first) m = read_four(first + place.at, place.left);
    if (second) v = read_four(second + place.at, place.left);
    for (u32 k = 0; k < 4; k++) {
        bool encoder = k < place.encoder;
        if (encoder && controls.frozen) continue;
        const Rates& rates = encoder ? controls.encoder : controls.rates;
        p.x[k] -= Rule::change(controls, rates, place.decayed, p.x[k], product(g.x[k], scale), m.x[k], v.x[k]);
    }
    write_four(memory.weights + place.at, place.left, p);
    if (first) write_four(first + place.at, place.left, m);
    if (second) write_four(second + place.at, place.left, v);
    if (memory.halves && place.decayed) write_halves(memory.halves + place.at, place.left, p);
}

template <class Rule>
__device__ inline void update(const Memory& memory, const Place& place, const Controls* controls, const Results* results) {
    if (place.left == 0 || !results->applied) return;
    Four p = read_four(memory.weights + place.at, place.left);
    if (place.trained) train<Rule>(memory, place, *controls, results->scale, p);
    if (!memory.average) return;
    Four average = read_four(memory.average + place.at, place.left);
    for (u32 k = 0; k < 4; k++) average.x[k] += product(controls->ema_share, p.x[k] - average.x[k]);
    write_four(memory.average + place.at, place.left, average);
}

// Compared with the largest double and float.
__device__ inline bool is_finite(double x) { return x >= -1.7976931348623157e308 && x <= 1.7976931348623157e308; }
__device__ inline bool is_finite(float x) { return x >= -3.40282347e38f && x <= 3.40282347e38f; }

// The mean loss of the maps with a known pixel, and their number.
__device__ inline void sum_maps(const Controls* controls, u32 maps, Results* results) {
    float sum = 0.0f;
    u32 known = 0;
    for (u32 i = 0; i < maps; i++) {
        float share = map_controls(controls, i).share;
        if (!(share > 0.0f)) continue;
        sum += share * map_losses(results)[i];
        known++;
    }
    results->map_loss = sum;
    results->maps = known;
}

}  // namespace training

// partials[chunk] = sum of the squares of a chunk of gradients, Decayed's chunks first, in double. One block per chunk,
// whose length is a multiple of 4.
KERNEL(gradient_squares, (const float* gradients, double* partials, u32 decayed, u32 plain, u32 per_chunk)) {
    using namespace training;
    __shared__ double shared[THREADS];
    u32 before = (decayed + per_chunk - 1) / per_chunk;  // chunks of Decayed
    bool second = blockIdx.x >= before;
    Chunk chunk = chunk_of(second ? blockIdx.x - before : blockIdx.x, per_chunk, second ? plain : decayed);
    if (second) gradients += group_end(decayed);
    double sum = 0.0;
    for (u32 i = chunk.begin + 4 * threadIdx.x; i < chunk.end; i += 4 * THREADS) {
        Four g = read_four(gradients + i, chunk.end - i);
        for (u32 k = 0; k < 4; k++) sum += (double)g.x[k] * (double)g.x[k];
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

// The total loss, the gradients' norm and scale, and whether the step is applied. One block. If `classifies` is 0, no
// class loss was computed.
KERNEL(step_results, (const double* partials, u32 chunks, u32 maps, u32 classifies, const training::Controls* controls,
                      training::Results* results)) {
    using namespace training;
    __shared__ double shared[THREADS];
    double squares = 0.0;
    for (u32 i = threadIdx.x; i < chunks; i += THREADS) squares += partials[i];
    squares = block_sum(squares, shared);
    if (threadIdx.x != 0) return;
    if (!classifies) {
        results->class_loss = 0.0f;
        results->hits = 0;
    }
    sum_maps(controls, maps, results);
    results->loss = results->class_loss + product(controls->map_weight, results->map_loss);
    double norm = sqrt(squares), clipped = controls->clip_norm / (norm + 1e-6);
    results->norm = norm;
    results->scale = controls->clip_norm > 0.0 && clipped < 1.0 ? (float)clipped : 1.0f;
    results->applied = is_finite(results->loss) && is_finite(norm);
    results->unused = 0;
}

// Updates all groups; `first` and `second` are the rule's moments.
KERNEL(update_adam, (float* weights, const float* gradients, float* first, float* second, float* average,
                     unsigned short* halves, u32 decayed, u32 plain, u32 buffers, u32 encoder_decayed,
                     u32 encoder_plain, const training::Controls* controls, const training::Results* results)) {
    using namespace training;
    update<Adam>({weights, gradients, first, second, average, halves},
                 place({decayed, plain, buffers, encoder_decayed, encoder_plain}), controls, results);
}

KERNEL(update_sgd, (float* weights, const float* gradients, float* first, float* second, float* average,
                    unsigned short* halves, u32 decayed, u32 plain, u32 buffers, u32 encoder_decayed,
                    u32 encoder_plain, const training::Controls* controls, const training::Results* results)) {
    using namespace training;
    update<Sgd>({weights, gradients, first, second, average, halves},
                 place({decayed, plain, buffers, encoder_decayed, encoder_plain}), controls, results);
}

KERNEL(update_rmsprop, (float* weights, const float* gradients, float* first, float* second, float* average,
                        unsigned short* halves, u32 decayed, u32 plain, u32 buffers, u32 encoder_decayed,
                        u32 encoder_plain, const training::Controls* controls, const training::Results* results)) {
    using namespace training;
    update<RmsProp>({weights, gradients, first, second, average, halves},
                 place({decayed, plain, buffers, encoder_decayed, encoder_plain}), controls, results);
}

// The bf16 copy of weights written by the host. Four per thread.
KERNEL(weights_to_bf16, (const float* weights, unsigned short* halves, u32 len)) {
    using namespace training;
    u32 i = 4 * element();
    if (i < len) write_halves(halves + i, len - i, read_four(weights + i, len - i));
}
