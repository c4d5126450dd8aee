// The gradient of an LSTM's peepholes. See src/kernel/catalog/training.rs.
const WORKGROUP: u32 = 64u;

// Rows that are added up before their sum is added to the total, as in src/cpu/training/peephole_back.rs.
const BLOCK: u32 = 256u;

override FIRST: bool = false;

@group(0) @binding(1) var<storage, read> cell_state: array<vec4<f32>>; // [M][B][D · P · 16]
@group(0) @binding(2) var<storage, read> gates: array<vec4<f32>>; // [..][P][4][16]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [P][K + 2][4][16]

// Writes four units of a gate's row, from `at` on.
fn finish(at: u32, sum: vec4<f32>, is_true: vec4<bool>) {
    var old = vec4(0.0);
    if !FIRST {
        old = result[at];
    }
    result[at] = select(vec4(0.0), old + sum, is_true);
}

@compute @workgroup_size(WORKGROUP)
fn peephole_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let four = group.x * WORKGROUP + lane;
    let fours = params.panels * 4u;
    if four < fours {
        let width = params.directions * fours;
        let column = params.direction * fours + four;
        var input = vec4(0.0);
        var forget = vec4(0.0);
        var output = vec4(0.0);
        var input_part = vec4(0.0);
        var forget_part = vec4(0.0);
        var output_part = vec4(0.0);
        for (var m = 0u; m < params.rows; m++) {
            let step = m / params.batch * params.hidden_step_0;
            let b = m % params.batch;
            let old = cell_state[((params.cell_in + step) * params.batch + b) * width + column];
            let after = cell_state[((params.cell_out + step) * params.batch + b) * width + column];
            let at = ((params.target_0 + m) * params.panels + four / 4u) * 16u + four % 4u;
            input_part += gates[at] * old;
            forget_part += gates[at + 4u] * old;
            output_part += gates[at + 12u] * after;
            if m % BLOCK == BLOCK - 1u {
                input += input_part;
                forget += forget_part;
                output += output_part;
                input_part = vec4(0.0);
                forget_part = vec4(0.0);
                output_part = vec4(0.0);
            }
        }
        let panel = params.weight_panel + four / 4u;
        let at = (panel * (params.depth + 2u) + params.depth + 1u) * 16u + four % 4u;
        let is_true = (4u * four + vec4(0u, 1u, 2u, 3u)) < vec4(params.count);
        finish(at, input + input_part, is_true);
        finish(at + 4u, forget + forget_part, is_true);
        finish(at + 8u, vec4(0.0), is_true);
        finish(at + 12u, output + output_part, is_true);
    }
}
