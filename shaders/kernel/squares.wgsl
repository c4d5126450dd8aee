// Sums of the squares of gradients, one for each workgroup. See src/kernel/catalog/update.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> scalars: array<vec4<f32>>; // [roles][4]
@group(0) @binding(4) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn squares(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let fours = params.rows * (params.units / 4u);
    let first = params.source_0 * (params.units / 4u);
    let end = min((group.x + 1u) * params.steps, fours);
    var sum = vec4(0.0);
    for (var four = group.x * params.steps + lane; four < end; four += WORKGROUP) {
        let role = role_of(class_of(four));
        if role != NO_ROLE {
            let g = delta[first + four] + scalars_of(role).penalty * source[first + four];
            sum += g * g;
        }
    }
    let total = sum_of_lanes(lane, sum.x + sum.y + sum.z + sum.w);
    if lane == 0u {
        result[params.target_0 + group.x] = total;
    }
}
