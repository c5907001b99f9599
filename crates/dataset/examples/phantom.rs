//! Writes a phantom data set and prints how long it took: `… --example phantom -- DIR [SIZE]`.

use dataset::phantom::{PhantomConfig, generate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("give a folder that does not exist yet")?;
    let size = args.next().map_or(Ok(96), |size| size.parse())?;
    let start = std::time::Instant::now();
    let made = generate(
        dir.as_ref(),
        &PhantomConfig {
            size,
            ..PhantomConfig::default()
        },
    )?;
    println!(
        "{} images in {:.1?} below {}",
        made.count,
        start.elapsed(),
        made.images.display()
    );
    Ok(())
}
