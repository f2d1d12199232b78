//! Several agents in virtual time, over a network that loses, delays and parts, with a store for the lease that comes and
//! goes; and what must hold whatever happens.

#[cfg(test)]
mod world;

use super::timing::RETURN;
use super::*;
use proptest::prelude::*;
use std::time::Duration;
use world::{Fault, LONGEST, World, ms};

fn any_interval() -> impl Strategy<Value = Duration> {
    prop::sample::select(vec![1, 2, 10, 60]).prop_map(Duration::from_secs)
}

/// Two to five agents that have settled.
fn settled(agents: usize, interval: Duration, lease: bool, seed: u64) -> World {
    let mut world = World::new(agents, interval, lease, seed);
    for which in 0..agents {
        world.start(which);
        let pause = world.random.below(2000);
        world.run(ms(pause));
    }
    world.run(world.settle());
    world
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let which = || 0..5_usize;
    prop_oneof![
        which().prop_map(Fault::Kill),
        which().prop_map(Fault::Start),
        which().prop_map(Fault::Start),
        which().prop_map(Fault::Leave),
        which().prop_map(Fault::Stop),
        which().prop_map(Fault::Continue),
        which().prop_map(Fault::Continue),
        which().prop_map(Fault::Cut),
        which().prop_map(Fault::Mend),
        any::<u8>().prop_map(Fault::Split),
        Just(Fault::Heal),
        (which(), any::<bool>()).prop_map(|(which, reach)| Fault::Store(which, reach)),
        (0..40_u8).prop_map(Fault::Loss),
        Just(Fault::Loss(0)),
    ]
}

fn on(fault: Fault, agents: usize) -> Fault {
    match fault {
        Fault::Kill(which) => Fault::Kill(which % agents),
        Fault::Start(which) => Fault::Start(which % agents),
        Fault::Leave(which) => Fault::Leave(which % agents),
        Fault::Stop(which) => Fault::Stop(which % agents),
        Fault::Continue(which) => Fault::Continue(which % agents),
        Fault::Cut(which) => Fault::Cut(which % agents),
        Fault::Mend(which) => Fault::Mend(which % agents),
        Fault::Store(which, reach) => Fault::Store(which % agents, reach),
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn after_any_faults_exactly_one_leads_and_goes_on_leading(
        agents in 2..=5_usize,
        interval in any_interval(),
        lease in any::<bool>(),
        seed in any::<u64>(),
        faults in prop::collection::vec((0..200_u64, any_fault()), 0..30),
    ) {
        let mut world = World::new(agents, interval, lease, seed);
        for (pause, fault) in faults {
            // In hundredths of the time after which an agent counts as gone.
            world.run(silence(interval) * pause as u32 / 100);
            world.fault(on(fault, agents));
        }
        world.mend();
        world.run(world.settle());
        let leader = world.whoever_leads();
        world.leaders = vec![(world.now, leader)];
        world.longest_both = Duration::ZERO;
        world.run(silence(interval) * 20);
        prop_assert_eq!(world.whoever_leads(), leader);
        prop_assert_eq!(world.leaders.len(), 1, "{:?}", world.leaders);
        prop_assert_eq!(world.longest_both, Duration::ZERO);
    }

    #[test]
    fn two_that_hear_each_other_do_not_both_publish_for_longer_than_a_heartbeat(
        agents in 2..=5_usize,
        interval in any_interval(),
        lease in any::<bool>(),
        seed in any::<u64>(),
        faults in prop::collection::vec((0..200_u64, any_fault()), 0..30),
    ) {
        let mut world = World::new(agents, interval, lease, seed);
        for (pause, fault) in faults {
            world.run(silence(interval) * pause as u32 / 100);
            // What is lost is not heard.
            if !matches!(fault, Fault::Loss(_)) {
                world.fault(on(fault, agents));
            }
        }
        let allowed = heartbeat(interval) + LONGEST;
        prop_assert!(world.longest_both <= allowed, "{:?} > {allowed:?}", world.longest_both);
    }

    #[test]
    fn a_leader_that_falls_silent_is_followed_by_one_other_in_time(
        agents in 2..=5_usize,
        interval in any_interval(),
        lease in any::<bool>(),
        seed in any::<u64>(),
        wait in 0..10_000_u64,
        how in 0..4_u8,
    ) {
        let mut world = settled(agents, interval, lease, seed);
        let leader = world.whoever_leads();
        world.run(ms(wait));
        world.leaders = vec![(world.now, leader)];
        let begun = world.now;
        world.fault(match how {
            0 => Fault::Kill(leader),
            1 => Fault::Stop(leader),
            2 => Fault::Cut(leader),
            _ => Fault::Leave(leader),
        });
        let late = if lease { heartbeat(interval) } else { Duration::ZERO };
        world.run(silence(interval) + late + ms(500));
        let next = world.whoever_leads();
        prop_assert_ne!(next, leader);
        let after = world.leaders[1].0 - begun;
        // The wait, and the way of a message, or of questions to the store and back; who looks at the lease sees a renewal
        // a heartbeat late.
        let wait = if lease { late + lease_silence(interval) } else { silence(interval) };
        prop_assert!(after <= wait + LONGEST * 10, "{after:?}");
        if how == 3 {
            prop_assert!(after <= LONGEST * 8, "{after:?}");
        }
        prop_assert_eq!(world.leaders.len(), 2, "{:?}", world.leaders);
        prop_assert_eq!(world.longest_both, Duration::ZERO);

        // It comes back, and takes nothing over.
        world.run(silence(interval) * 2);
        world.fault(match how {
            0 | 3 => Fault::Start(leader),
            1 => Fault::Continue(leader),
            _ => Fault::Mend(leader),
        });
        world.run(world.settle());
        prop_assert_eq!(world.whoever_leads(), next);
        prop_assert_eq!(world.leaders.len(), 2, "{:?}", world.leaders);
        prop_assert_eq!(world.longest_both, Duration::ZERO);
    }

    #[test]
    fn a_store_that_goes_and_comes_changes_no_leader(
        agents in 2..=5_usize,
        interval in any_interval(),
        seed in any::<u64>(),
        away in 1..400_u32,
        late in prop::collection::vec(0..RETURN.as_millis() as u64, 5),
    ) {
        let mut world = settled(agents, interval, true, seed);
        let leader = world.whoever_leads();
        world.leaders = vec![(world.now, leader)];
        (0..agents).for_each(|which| world.fault(Fault::Store(which, false)));
        world.run(silence(interval) * away / 100);
        let mut order: Vec<usize> = (0..agents).collect();
        order.sort_by_key(|which| late[*which]);
        let mut passed = 0;
        for which in order {
            world.run(ms(late[which] - passed));
            passed = late[which];
            world.fault(Fault::Store(which, true));
        }
        world.run(world.settle());
        prop_assert_eq!(world.whoever_leads(), leader);
        prop_assert_eq!(world.leaders.len(), 1, "{:?}", world.leaders);
        let by_lease = Role::Leader { by: Basis::Lease };
        let agent = world.agents[leader].as_ref();
        prop_assert_eq!(agent.map(|agent| agent.election.role()), Some(&by_lease));
    }

    #[test]
    fn a_leader_that_alone_has_lost_the_store_is_followed_by_one_that_reaches_it(
        agents in 2..=5_usize,
        interval in any_interval(),
        seed in any::<u64>(),
    ) {
        let mut world = settled(agents, interval, true, seed);
        let leader = world.whoever_leads();
        world.fault(Fault::Store(leader, false));
        world.run(world.settle());
        let next = world.whoever_leads();
        prop_assert_ne!(next, leader);
        let by_lease = Role::Leader { by: Basis::Lease };
        let agent = world.agents[next].as_ref();
        prop_assert_eq!(agent.map(|agent| agent.election.role()), Some(&by_lease));
    }
}
