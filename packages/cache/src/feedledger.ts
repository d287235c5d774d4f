/**
 * Finding out that a message was lost, although senders commit in another order than they count in, and roll back what they have counted.
 *
 * A sender numbers what it sends. With each message it says up to which number it knows the end of all (`closed`), and how many of those were committed. Their COMMIT
 * was acknowledged before this message was sent, and PostgreSQL delivers in the order of the commits: so whoever hears this message has heard all of those, or has
 * missed some.
 */
import type { Stamp } from "./feedmessage.js"

/** So many senders are remembered, and ends that nobody knows; of each sender, ten times as many messages. */
const MOST = 1_000

/** What one sender has sent. */
export class Ledger {
  private last = 0
  private closed = 0
  private committed = 0
  /** Ends that are known, above the first number whose end is not. */
  private readonly ends = new Map<number, boolean>()
  /** Those nobody knows the end of: what is heard of them is news to the sender too. */
  private readonly unknown = new Set<number>()

  constructor(readonly sender: string) {}

  next(): number {
    this.last += 1
    return this.last
  }

  /** An unknown end counts as a commit: should it have been none, others find a gap where there is none, and forget too much, once. */
  settle(number: number, outcome: "committed" | "rolledBack" | "unknown"): void {
    this.ends.set(number, outcome !== "rolledBack")
    if (outcome === "unknown") {
      this.unknown.add(number)
      if (this.unknown.size > MOST) deleteOldest(this.unknown)
    }
    for (let kept = this.ends.get(this.closed + 1); kept !== undefined; kept = this.ends.get(this.closed + 1)) {
      this.closed += 1
      this.ends.delete(this.closed)
      if (kept) this.committed += 1
    }
  }

  /** Whether what is heard of this number tells its sender something. */
  isNews(number: number | undefined): boolean {
    return number !== undefined && this.unknown.delete(number)
  }

  stamp(number: number | undefined): Stamp {
    return { sender: this.sender, number, closed: this.closed, committed: this.committed }
  }
}

const deleteOldest = <A>(all: Set<A> | Map<A, unknown>): void => {
  for (const oldest of all.keys()) {
    all.delete(oldest)
    return
  }
}

interface Known {
  closed: number
  committed: number
  /** What was heard above `closed`. */
  readonly above: Set<number>
}

/** What was heard of each sender. */
export class Attendance {
  private readonly senders = new Map<string, Known>()

  /** From here on nothing is expected: after a connection was lost, and everything forgotten. */
  clear(): void {
    this.senders.clear()
  }

  /** Takes note of a message, and answers whether one before it has been missed. */
  misses({ closed, committed, number, sender }: Stamp): boolean {
    const known = this.senders.get(sender) ?? { closed, committed, above: new Set() }
    // The one that was quiet for longest goes first.
    this.senders.delete(sender)
    this.senders.set(sender, known)
    if (this.senders.size > MOST) deleteOldest(this.senders)
    let missed = false
    if (closed > known.closed) {
      let heard = 0
      for (const one of known.above) {
        if (one > closed) continue
        heard += 1
        known.above.delete(one)
      }
      missed = heard < committed - known.committed
      known.closed = closed
      known.committed = committed
    }
    if (number !== undefined && number > known.closed) known.above.add(number)
    if (known.above.size <= MOST * 10) return missed
    // Some transaction of that sender stays open for long. To begin anew may miss a gap, so it counts as one.
    this.senders.delete(sender)
    return true
  }
}
