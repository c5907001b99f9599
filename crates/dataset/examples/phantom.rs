//! Writes a phantom data set and prints how long it took:
//! `… --example phantom -- DIR [SIZE] [chest|cells|heads]`.

use dataset::phantom::{
    CellsConfig, HeadsConfig, PhantomConfig, generate, generate_cells, generate_heads,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("give a folder that does not exist yet")?;
    let size = args.next().map_or(Ok(96), |size| size.parse())?;
    let start = std::time::Instant::now();
    let images = match args.next().as_deref().unwrap_or("chest") {
        "chest" => {
            let config = PhantomConfig {
                size,
                ..PhantomConfig::default()
            };
            generate(dir.as_ref(), &config)?.images
        }
        "cells" => {
            let config = CellsConfig {
                size,
                ..CellsConfig::default()
            };
            generate_cells(dir.as_ref(), &config)?.images
        }
        "heads" => {
            let config = HeadsConfig {
                size,
                ..HeadsConfig::default()
            };
            generate_heads(dir.as_ref(), &config)?.images
        }
        other => return Err(format!("no phantom {other:?}: use chest, cells or heads").into()),
    };
    println!("{:.1?}: {}", start.elapsed(), images.display());
    Ok(())
}
