/**
 * Who has to forget what others change, and whether anybody would hear of it.
 *
 * One of these exists for each database that a Repo reaches, and outlives the feeds on it: a feed that is restarted finds those who subscribed to the one
 * before it. While a feed is blind, or none is there any more, subscribers are held, if that feed was told so: they serve nothing that they keep.
 */
import type { Change } from "@effecto/core/Announcement"
import { Ledger } from "./feedledger.js"

export interface Subscriber {
  /** Must not throw. */
  readonly forget: (change: Change) => void
  readonly forgetAll: () => void
  /** From now on nothing kept is served, until the answer is called. */
  readonly bypass: () => () => void
}

/** What a feed is to those who subscribed. */
export interface Eye {
  isBlind: boolean
  readonly whileBlind: "serve" | "bypass"
}

export class Hub {
  private readonly held = new Map<Subscriber, (() => void) | undefined>()
  private readonly eyes = new Set<Eye>()
  /** What was sent, by channel. Sending goes on while a feed is restarted: what is written meanwhile, others have to forget all the same. */
  private readonly ledgers = new Map<string, Ledger>()
  /** The feed that has ended, when no other has come since. */
  private lost: Eye | undefined = undefined

  private get isHeld(): boolean {
    if (this.lost !== undefined) return this.lost.whileBlind === "bypass"
    for (const eye of this.eyes) if (eye.isBlind && eye.whileBlind === "bypass") return true
    return false
  }

  get size(): number {
    return this.held.size
  }

  /** What is sent on a channel; `begin` is called when nothing has been yet. */
  ledger(channel: string, sender: string, begin: (ledger: Ledger) => void): Ledger {
    let ledger = this.ledgers.get(channel)
    if (ledger === undefined) {
      ledger = new Ledger(sender)
      this.ledgers.set(channel, ledger)
      begin(ledger)
    }
    return ledger
  }

  join(eye: Eye): void {
    this.eyes.add(eye)
    this.lost = undefined
    this.settle()
  }

  leave(eye: Eye): void {
    if (!this.eyes.delete(eye)) return
    if (this.eyes.size === 0) this.lost = eye
    this.settle()
  }

  subscribe(subscriber: Subscriber): () => void {
    this.held.set(subscriber, undefined)
    this.settle()
    return () => {
      this.held.get(subscriber)?.()
      this.held.delete(subscriber)
    }
  }

  blind(eye: Eye): void {
    eye.isBlind = true
    this.settle()
  }

  /** Everything is forgotten before anything is served again. */
  see(eye: Eye): void {
    if (!this.eyes.has(eye)) return
    this.forgetAll()
    eye.isBlind = false
    this.settle()
  }

  forget(changes: ReadonlyArray<Change> | "all"): void {
    if (changes === "all") this.forgetAll()
    else for (const change of changes) for (const { forget } of this.held.keys()) forget(change)
  }

  forgetAll(): void {
    for (const { forgetAll } of this.held.keys()) forgetAll()
  }

  private settle(): void {
    const { isHeld } = this
    for (const [subscriber, end] of this.held) {
      if (isHeld === (end !== undefined)) continue
      end?.()
      this.held.set(subscriber, isHeld ? subscriber.bypass() : undefined)
    }
  }
}

const hubs = new WeakMap<object, Hub>()

/** The hub of what a Repo announces. */
export const hubOf = (announcer: object): Hub => {
  let hub = hubs.get(announcer)
  if (hub === undefined) {
    hub = new Hub()
    hubs.set(announcer, hub)
  }
  return hub
}
