// The numbers of an update of weights of one role. Its twin, Scalars in src/rule.rs, explains each member.
struct Scalars {
    penalty: f32,
    clip_norm: f32,
    clip_slack: f32,
    clip_value: f32,
    coupled: f32,
    decoupled: f32,
    mean: f32,
    square: f32,
    root: f32,
    inside: f32,
    epsilon: f32,
    momentum: f32,
    into: f32,
    direct: f32,
    through: f32,
    reserved: f32,
}

// Returns the scalars of a role, which are stored four by four.
fn scalars_of(role: u32) -> Scalars {
    let a = scalars[4u * role];
    let b = scalars[4u * role + 1u];
    let c = scalars[4u * role + 2u];
    let d = scalars[4u * role + 3u];
    return Scalars(a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w, c.x, c.y, c.z, c.w, d.x, d.y, d.z, d.w);
}

// The role of rows that are left alone.
const NO_ROLE: u32 = 0xffffffffu;

// Returns the class of four elements of a packed buffer: rows of the depth, bias, peepholes.
fn class_of(four: u32) -> u32 {
    let row = (params.source_0 + four / (params.units / 4u)) % params.count;
    return select(select(2u, 1u, row == params.depth), 0u, row < params.depth);
}

// Returns the index of the scalars for the rows of a class.
fn role_of(class_index: u32) -> u32 {
    return select(select(params.live_0, params.gates_1, class_index == 1u), params.gates_0, class_index == 0u);
}
