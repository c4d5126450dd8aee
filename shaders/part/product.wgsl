// The product of some rows of a source with the gates of four units. A kernel, or source/*.wgsl, supplies
// load_source(at) and row_source(place, row), both in fours. multiply/*.wgsl, gates/*.wgsl and tile/*.wgsl have the
// sums. Sums run over k ascending, in fours, separately for each slice. reduce/*.wgsl adds the slices in order.

fn add_dot(sum: vec4<f32>, s: vec4<f32>, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>) -> vec4<f32> {
    return fma(vec4(s.w), w3, fma(vec4(s.z), w2, fma(vec4(s.y), w1, fma(vec4(s.x), w0, sum))));
}

// `first` is the place of gate 0 of depth 0 among the weights, in fours.
fn product(p: Place, first: u32, slice: u32, slices: u32) {
    let step = ROW_FOURS;
    // Slice 0 starts from the bias, and the others from 0.
    var start: Gates;
    if slice == 0u {
        start = load_row_after(first, BIAS);
    }
    start_rows(p, start);
    load_scales(first);
    for (var k = slice; k < params.depth / 4u; k += slices) {
        let at = first + k * 4u * step;
        add_rows(k, load_row(at), load_row(at + step), load_row(at + 2u * step), load_row(at + 3u * step));
    }
}
