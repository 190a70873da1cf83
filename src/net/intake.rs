//! Whether new connections are taken, for all listeners of the process at once.
//!
//! A successor that takes over must be the only one that accepts, and no connection may be lost on
//! the way: [`Intake::hold`] makes every [`Door`] stop polling while its descriptor stays open, so
//! that the kernel goes on queueing, and returns once all of them have. [`Intake::open`] makes them
//! poll again. What was queued meanwhile is served by whoever polls next.
//!
//! It keeps a second descriptor of every listener, for a successor to be given; [`Intake::close`]
//! lets go of them, without which no port would ever be free again.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Open,
    Held,
    Left,
}

/// The order, and who follows it. One of it is made for each server.
#[derive(Debug, Clone)]
pub struct Intake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    order: watch::Sender<Order>,
    doors: Mutex<Doors>,
    changed: Condvar,
    kept: Mutex<Vec<Kept>>,
}

#[derive(Debug, Default)]
struct Doors {
    there: usize,
    held: usize,
}

/// A listener's descriptor, for a successor.
#[derive(Debug)]
pub struct Kept {
    pub listener: std::net::TcpListener,
    /// As it is configured: the port may be 0.
    pub configured: SocketAddr,
}

/// Whether a server takes connections from its start on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    #[default]
    Open,
    /// Not before [`Intake::open`].
    Held,
}

impl Intake {
    pub fn new(begin: Begin) -> Self {
        let order = match begin {
            Begin::Open => Order::Open,
            Begin::Held => Order::Held,
        };
        Self(Arc::new(Inner {
            order: watch::Sender::new(order),
            doors: Mutex::default(),
            changed: Condvar::new(),
            kept: Mutex::default(),
        }))
    }

    /// Keeps a second descriptor of a listener for a successor.
    pub fn keep(&self, listener: &std::net::TcpListener, configured: SocketAddr) -> io::Result<()> {
        let listener = listener.try_clone()?;
        lock(&self.0.kept).push(Kept { listener, configured });
        Ok(())
    }

    /// A listener that follows the order.
    pub fn door(&self, listener: std::net::TcpListener) -> Door {
        lock(&self.0.doors).there += 1;
        Door {
            intake: self.clone(),
            order: self.0.order.subscribe(),
            listener: Listener::Down(listener),
            is_held: false,
        }
    }

    /// Makes every door stop polling; true once all have, false where one has not in time. The
    /// order stands in either case.
    pub fn hold(&self, patience: Duration) -> bool {
        self.0.order.send_replace(Order::Held);
        let until = Instant::now() + patience;
        let mut doors = lock(&self.0.doors);
        while doors.held < doors.there {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.changed.wait_timeout(doors, left);
            doors = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Makes every door poll.
    pub fn open(&self) {
        self.0.order.send_replace(Order::Open);
    }

    /// A successor has every listener: none is polled here again, nor kept open.
    pub fn leave(&self) {
        self.0.order.send_replace(Order::Left);
        self.close();
    }

    /// Lets go of the kept descriptors.
    pub fn close(&self) {
        lock(&self.0.kept).clear();
    }

    /// The descriptors that were kept, for a successor.
    pub fn kept(&self) -> io::Result<Vec<Kept>> {
        let kept = lock(&self.0.kept);
        let clone = |kept: &Kept| {
            Ok(Kept { listener: kept.listener.try_clone()?, configured: kept.configured })
        };
        kept.iter().map(clone).collect()
    }
}

/// Nothing panics under these locks half way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listener that polls as long as the order says so. It must be used inside a runtime.
#[derive(Debug)]
pub struct Door {
    intake: Intake,
    order: watch::Receiver<Order>,
    listener: Listener,
    is_held: bool,
}

#[derive(Debug)]
enum Listener {
    /// Registered with the runtime.
    Up(TcpListener),
    Down(std::net::TcpListener),
    /// While it changes from one to the other.
    Gone,
}

impl Door {
    /// The next connection. Nothing is lost where it is dropped early.
    pub async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            self.obey().await?;
            self.take_up()?;
            let Listener::Up(listener) = &self.listener else { return Err(gone()) };
            tokio::select! {
                biased;
                // The sender lives in the intake, which this holds.
                _ = self.order.changed() => {}
                accepted = listener.accept() => return accepted,
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        match &self.listener {
            Listener::Up(listener) => listener.local_addr(),
            Listener::Down(listener) => listener.local_addr(),
            Listener::Gone => Err(gone()),
        }
    }

    /// Returns at once while the order is to poll; else puts the listener down, says so, and waits
    /// until it is. For whoever has another reason not to accept.
    pub async fn obey(&mut self) -> io::Result<()> {
        loop {
            // Not in the place of the match: it must not be locked while this waits.
            let order = *self.order.borrow_and_update();
            match order {
                Order::Open => {
                    self.tell(false);
                    return Ok(());
                }
                Order::Held => self.put_down()?,
                Order::Left => self.listener = Listener::Gone,
            }
            self.tell(true);
            if self.order.changed().await.is_err() {
                return Err(gone());
            }
        }
    }

    fn take_up(&mut self) -> io::Result<()> {
        if let Listener::Down(_) = self.listener
            && let Listener::Down(listener) = std::mem::replace(&mut self.listener, Listener::Gone)
        {
            self.listener = Listener::Up(TcpListener::from_std(listener)?);
        }
        Ok(())
    }

    /// Out of the runtime: registered nowhere, the descriptor stays.
    fn put_down(&mut self) -> io::Result<()> {
        if let Listener::Up(_) = self.listener
            && let Listener::Up(listener) = std::mem::replace(&mut self.listener, Listener::Gone)
        {
            self.listener = Listener::Down(listener.into_std()?);
        }
        Ok(())
    }

    fn tell(&mut self, is_held: bool) {
        if self.is_held != is_held {
            let mut doors = lock(&self.intake.0.doors);
            doors.held = if is_held { doors.held + 1 } else { doors.held - 1 };
            self.is_held = is_held;
            self.intake.0.changed.notify_all();
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.tell(false);
        lock(&self.intake.0.doors).there -= 1;
        self.intake.0.changed.notify_all();
    }
}

fn gone() -> io::Error {
    io::Error::other("the listener is gone")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn listener() -> std::net::TcpListener {
        crate::net::listener::bind("127.0.0.1:0".parse().unwrap()).unwrap()
    }

    /// Serves one byte to every connection, from a thread of its own.
    fn serve(mut door: Door) {
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                while let Ok((stream, _)) = door.accept().await {
                    stream.writable().await.unwrap();
                    stream.try_write(b"x").unwrap();
                }
            });
        });
    }

    fn is_served(stream: &mut std::net::TcpStream, within: Duration) -> bool {
        stream.set_read_timeout(Some(within)).unwrap();
        stream.read(&mut [0; 1]).is_ok_and(|count| count == 1)
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_held_listener_queues_and_what_was_queued_is_served_later() {
        let intake = Intake::new(Begin::Open);
        let listener = listener();
        let address = listener.local_addr().unwrap();
        serve(intake.door(listener));
        assert!(is_served(&mut std::net::TcpStream::connect(address).unwrap(), LONG));
        for _ in 0..3 {
            assert!(intake.hold(LONG));
            let mut queued = std::net::TcpStream::connect(address).unwrap();
            assert!(!is_served(&mut queued, Duration::from_millis(50)));
            intake.open();
            assert!(is_served(&mut queued, LONG));
        }
    }

    #[test]
    fn who_begins_held_serves_what_came_before() {
        let intake = Intake::new(Begin::Held);
        let listener = listener();
        let mut early = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        serve(intake.door(listener));
        assert!(!is_served(&mut early, Duration::from_millis(50)));
        intake.open();
        assert!(is_served(&mut early, LONG));
    }

    #[test]
    fn a_kept_descriptor_takes_over_the_queue() {
        let (old, new) = (Intake::new(Begin::Open), Intake::new(Begin::Held));
        let listener = listener();
        let address = listener.local_addr().unwrap();
        old.keep(&listener, address).unwrap();
        serve(old.door(listener));
        assert!(old.hold(LONG));
        let mut queued = std::net::TcpStream::connect(address).unwrap();
        let kept = old.kept().unwrap().remove(0);
        assert_eq!(kept.configured, address);
        serve(new.door(kept.listener));
        old.leave();
        new.open();
        assert!(is_served(&mut queued, LONG));
        assert!(is_served(&mut std::net::TcpStream::connect(address).unwrap(), LONG));
    }

    #[test]
    fn a_door_that_does_not_look_is_not_waited_for_too_long() {
        let intake = Intake::new(Begin::Open);
        let door = intake.door(listener());
        assert!(!intake.hold(Duration::from_millis(10)));
        drop(door);
        assert!(intake.hold(LONG));
    }
}
