//! Hosts of their own for servers: network namespaces, each with its loopback
//! and one end of a cable between them, which can be cut.
//!
//! They need the privileges to make them. Their names hold the id of the test
//! process; what one that was killed has left behind, the next one removes.

use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::moat::{program, without_settings};
use super::original::{SLOWLY, mosquitto};
use super::process::{Output, Process, command, find, run};
use super::{PATIENCE, eventually};

/// How the namespaces are named: this, the process, a number, a letter.
const PREFIX: &str = "moat-test-";
/// The cable's end in each host.
const CABLE: &str = "cable0";
/// Where the system lists named namespaces.
const SPACES: &str = "/run/netns";

/// Runs `ip ARGS`.
fn ip(args: &[&str]) -> Result<String, String> {
    let program = find("ip").ok_or("ip (iproute2) is not installed")?;
    let name = format!("ip {}", args.join(" "));
    let output = run(&name, Command::new(program).args(args), None, PATIENCE)?;
    output.ok().map_err(|e| format!("{name}: {e}"))
}

/// Whether this process may make hosts.
///
/// # Errors
/// Why it may not.
pub(crate) fn permitted() -> Result<(), String> {
    static PERMITTED: OnceLock<Result<(), String>> = OnceLock::new();
    let try_it = || {
        let pair = Pair::make()?;
        let [one, _] = &pair.hosts;
        // having them is one thing, entering them another
        let loopback = ip(&["netns", "exec", &one.name, "ip", "link", "show", "lo"])?;
        match loopback.contains("LOOPBACK") {
            true => Ok(()),
            false => Err(format!("no loopback: {loopback}")),
        }
    };
    let found = PERMITTED.get_or_init(try_it).clone();
    found.map_err(|e| {
        let why = e.lines().rev().find(|line| !line.is_empty());
        format!("no network namespaces: {}", why.unwrap_or_default())
    })
}

/// Two hosts and the cable between them.
pub(crate) struct Pair {
    pub(crate) hosts: [Host; 2],
}

/// A host. It is gone with its last process after its owner is.
pub(crate) struct Host {
    name: String,
    /// Where the other one reaches it
    pub(crate) address: Ipv4Addr,
}

impl Pair {
    /// Makes them.
    pub(crate) fn new() -> Self {
        Self::make().unwrap_or_else(|e| panic!("{e}"))
    }

    fn make() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        sweep();
        let pair = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |letter| format!("{PREFIX}{}-{pair}{letter}", std::process::id());
        // the addresses are theirs alone, so all pairs may have the same
        let one = Host::make(name('a'), Ipv4Addr::new(10, 11, 12, 1))?;
        let two = Host::make(name('b'), Ipv4Addr::new(10, 11, 12, 2))?;
        let ends = [
            "link", "add", CABLE, "type", "veth", "peer", "name", CABLE, "netns", &two.name,
        ];
        one.ip(&ends)?;
        for host in [&one, &two] {
            host.ip(&["link", "set", "lo", "up"])?;
            host.ip(&["addr", "add", &format!("{}/24", host.address), "dev", CABLE])?;
            host.ip(&["link", "set", CABLE, "up"])?;
        }
        Ok(Self { hosts: [one, two] })
    }

    /// Cuts the cable.
    pub(crate) fn cut(&self) {
        self.cable("down");
    }

    /// Mends it.
    pub(crate) fn mend(&self) {
        self.cable("up");
    }

    fn cable(&self, state: &str) {
        for host in &self.hosts {
            let set = host.ip(&["link", "set", CABLE, state]);
            set.unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

impl Host {
    fn make(name: String, address: Ipv4Addr) -> Result<Self, String> {
        ip(&["netns", "add", &name])?;
        Ok(Self { name, address })
    }

    fn ip(&self, args: &[&str]) -> Result<String, String> {
        let within: Vec<&str> = ["-n", &self.name].iter().chain(args).copied().collect();
        ip(&within)
    }

    /// A command for a program there.
    fn command(&self, program: &Path) -> Command {
        // it becomes the program, and keeps its process id
        let mut command = command(find("ip").expect("it has made this host"));
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Starts Mosquitto there, at its usual port on all addresses.
    pub(crate) fn broker(&self) -> Process {
        let program = mosquitto().unwrap_or_else(|e| panic!("{e}"));
        let config = b"user root\npersistence false\nallow_anonymous true\nlistener 1883\n";
        let mut command = self.command(&program);
        command.args(["-c", "/dev/stdin"]);
        let broker = Process::start("mosquitto", &mut command, Some(config));
        eventually("mosquitto listens", PATIENCE, || {
            self.inside(|| TcpStream::connect(("127.0.0.1", 1883))).ok()
        })
        .unwrap_or_else(|e| panic!("{e}\n{}", broker.said()));
        broker
    }

    /// Starts `moat kv ARGS` there.
    pub(crate) fn start(&self, args: &[&str]) -> Process {
        let mut command = self.command(&program());
        without_settings(&mut command);
        command.arg("kv").args(args);
        Process::start(&format!("moat kv {}", args.join(" ")), &mut command, None)
    }

    /// Runs `moat kv ARGS` there to its good end; what it printed.
    pub(crate) fn kv(&self, args: &[&str]) -> String {
        let output = self.start(args).output(SLOWLY);
        let printed = output.and_then(Output::ok);
        printed.unwrap_or_else(|e| panic!("moat kv {}: {e}", args.join(" ")))
    }

    /// Does something with the host's network: a socket that is opened there
    /// stays there, wherever it is used later.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let space = File::open(Path::new(SPACES).join(&self.name)).expect("open the namespace");
        // a thread of its own, which ends: nothing else may come to be there
        let done = std::thread::scope(|threads| {
            let enter = || {
                move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("enter the namespace");
                act()
            };
            threads.spawn(enter).join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.name]);
    }
}

/// Removes what test processes have left behind that are no more.
fn sweep() {
    let Ok(spaces) = std::fs::read_dir(SPACES) else {
        return;
    };
    for space in spaces.flatten() {
        let name = space.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|n| n.split('-').next());
        if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}
