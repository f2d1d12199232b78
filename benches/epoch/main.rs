//! What an epoch costs: the agent as a process against real servers and against simulated ones.
//!
//! `scripts/bench` runs it; see there for the sections. Every figure comes from one run on one machine, and where two
//! figures are compared they were measured in turns. CPU time and memory are the kernel's own counts of a process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod bare;
mod burst;
mod figures;
mod holder;
mod idle;
mod loaded;
mod process;
mod real;
mod simulated;
mod soak;
#[path = "../../tests/support/mod.rs"]
mod support;

use figures::Figures;

const SECTIONS: &str = "real (10,000 connections on three servers, against a bare fetch), idle (memory and size), \
                        loaded (what servers pay), simulated (up to a million connections), burst (10,000 findings at once), \
                        soak (10,000 epochs)";

fn main() {
    // `cargo bench` adds its own flag.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == holder::COMMAND) {
        holder::main(&arguments[1..]);
        return;
    }
    let known = ["real", "idle", "loaded", "simulated", "burst", "soak", "--quick"];
    if let Some(unknown) = arguments.iter().find(|argument| !known.contains(&argument.as_str())) {
        eprintln!("bench: {unknown} is no section; there are {SECTIONS}; and --quick leaves out the largest");
        std::process::exit(2);
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let sections: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|name| *name != "--quick").collect();
    let wanted = |section: &str| sections.is_empty() || sections.contains(&section);

    let mut figures = Figures::default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if wanted("idle") {
            idle::measure(&mut figures).await;
        }
        if wanted("real") {
            real::measure(&mut figures, quick).await;
        }
        if wanted("loaded") {
            loaded::measure(&mut figures, quick).await;
        }
        if wanted("simulated") {
            simulated::measure(&mut figures, quick).await;
        }
        if wanted("burst") {
            burst::measure(&mut figures).await;
        }
    });
    if wanted("soak") {
        soak::measure(&mut figures);
    }
    println!("{figures}");
    if figures.missed() > 0 {
        println!("{} bars are missed.", figures.missed());
        std::process::exit(1);
    }
}
