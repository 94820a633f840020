//! Writes the run path of libtorch into every binary: where this checkout keeps it, and `lib` beside an installed `bin`.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=migrations"); // they are embedded
    let libtorch = std::env::var("LIBTORCH").unwrap_or_else(|_| ".libtorch".to_owned());
    let lib = Path::new(&libtorch).join("lib");
    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib");
    println!("cargo:rustc-env=IMPRINT_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}
