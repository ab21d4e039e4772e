// Generics, closures, a panic that is caught, threads.
use std::collections::HashMap;
use std::io::Write;
use std::panic;

#[inline(never)]
fn recurse(depth: u32, words: &mut HashMap<String, u32>) -> u32 {
    *words.entry(format!("word {}", depth % 17)).or_insert(0) += 1;
    if depth == 0 { words.len() as u32 } else { recurse(depth - 1, words) + 1 }
}

#[inline(never)]
fn risky(n: u32) -> u32 {
    if n % 50 == 0 { panic!("every fiftieth") }
    let mut numbers: Vec<u32> = (0..200).map(|i| (i * 7919) % 251).collect();
    numbers.sort_by(|a, b| (a ^ n).cmp(&(b ^ n)));
    numbers[3]
}

fn busy() {
    let mut words = HashMap::new();
    for n in 1.. {
        let caught = panic::catch_unwind(|| risky(n)).unwrap_or(0);
        std::hint::black_box(recurse(20, &mut words) + caught);
    }
}

fn main() {
    panic::set_hook(Box::new(|_| {}));
    println!("ready");
    std::io::stdout().flush().unwrap();
    let other = std::thread::spawn(busy);
    busy();
    other.join().unwrap();
}
