// A Rust name that has to be demangled: names::solver::iterate.
mod solver {
    #[inline(never)]
    pub fn iterate(rounds: u64) -> u64 {
        let mut state = 1u64;
        for i in 0..rounds {
            state = std::hint::black_box(state.wrapping_mul(31).wrapping_add(i));
        }
        state
    }
}

fn main() {
    let seconds: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    while std::time::Instant::now() < end {
        std::hint::black_box(solver::iterate(100_000));
    }
}
