//! The memory of an image is used again for the next one. In a program of its own, because it concerns the whole process.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, and clippy does not recognize its helpers"
)]

/// Pages that the system has given this process so far, without reading them from a disk.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name of the program, in parentheses, may contain spaces; the number is the eighth field after it.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(7).unwrap().parse().unwrap()
}

/// What decoding a radiograph of 4 Mpx allocates: some blocks that live together, each written once.
fn image() -> u64 {
    let blocks: Vec<Vec<u8>> = (1..=4).map(|value| vec![value; 12 << 20]).collect();
    blocks
        .iter()
        .map(|block| u64::from(block[block.len() / 2]))
        .sum()
}

/// Pages for the tenth image after nine others.
fn pages_of_another() -> u64 {
    (0..9).for_each(|_| assert_eq!(image(), 10));
    let before = faults();
    assert_eq!(image(), 10);
    faults() - before
}

#[test]
fn another_image_needs_no_new_pages() {
    // An image has 12,288 pages of 4 KiB.
    let returned = pages_of_another();
    decoding::keep_freed_memory();
    let kept = pages_of_another();
    assert!(kept < 100, "{kept} new pages, {returned} by default");
    let elsewhere = std::thread::spawn(pages_of_another).join().unwrap();
    assert!(elsewhere < 100, "{elsewhere} new pages in another thread");
}
