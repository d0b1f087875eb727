//! Memory that is free in here and still counted as ours.

/// Gives back to the system what was freed. To be called after work that needed far more than usual, once it is dropped:
/// glibc keeps such memory for the next time, which may be in a year. Other libcs give it back by themselves.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "nix has no malloc_trim")]
    // SAFETY: the call takes no pointer and may be made on any thread at any time (malloc_trim(3)).
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

/// Has all threads share one heap, and keep no large piece of it that is free: for a process that is small and mostly asleep.
/// To be called before it starts a thread. glibc gives each thread a heap of its own, and keeps of large pieces what was ever
/// freed; other libcs do neither.
pub fn be_small() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "nix has no mallopt")]
    // SAFETY: the calls take no pointer, and no other thread allocates yet (mallopt(3)). What they refuse stays as it is.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, 1);
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, 64 << 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_stays() {
        let kept = vec![7_u8; 1 << 20];
        drop(vec![vec![8_u8; 100]; 10_000]);
        give_back();
        assert!(kept.iter().all(|byte| *byte == 7));
    }
}
