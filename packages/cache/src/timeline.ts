/**
 * One monotonic line of whole milliseconds for a cache, from the moment it is made, whatever Clock its callers run under.
 *
 * Lifetimes are measured with the calling fiber's own Clock, so that TestClock drives them. Two things make that exact and cheap. The live Clock
 * is read through `performance.now()`: monotonic as `unsafeCurrentTimeNanos` is, without a bigint for each read; the wall clock is never asked, so
 * setting it neither stretches nor kills an entry. And a Clock that is not the one the cache was built with is joined to the line at the moment it
 * is first seen: time that passes on either passes for the entries, and neither makes the other's deadlines absurd.
 */
import { Clock, Context, DefaultServices } from "effect"

/** Held, because the global of this name is a getter, which costs a tenth of a hit. */
const monotonic = globalThis.performance
const live = Context.get(DefaultServices.liveServices, Clock.Clock)

/** The live Clock has nothing that tells it apart but its class. */
export const isLive = (clock: Clock.Clock): boolean => clock.constructor === live.constructor

const read = (clock: Clock.Clock): number =>
  isLive(clock) ? monotonic.now() : Number(clock.unsafeCurrentTimeNanos()) / 1_000_000

export class Timeline {
  private readonly live: boolean
  private readonly origin: number
  private offsets: WeakMap<Clock.Clock, number> | undefined
  /** The services seen last that have the live Clock. */
  private liveServices: Context.Context<DefaultServices.DefaultServices> | undefined

  constructor(readonly clock: Clock.Clock) {
    this.live = isLive(clock)
    this.origin = read(clock)
  }

  /** Whether it goes on unbroken on this clock. */
  isOf(clock: Clock.Clock): boolean {
    return clock === this.clock || (this.live && isLive(clock))
  }

  now(clock: Clock.Clock): number {
    return clock === this.clock || (this.live && isLive(clock))
      ? Math.floor(read(clock) - this.origin)
      : Math.floor(read(clock) + this.offsetOf(clock))
  }

  /** `now` by the Clock among a fiber's services, which are nearly always the very same as for the read before. */
  nowBy(services: Context.Context<DefaultServices.DefaultServices>): number {
    if (services === this.liveServices) return Math.floor(monotonic.now() - this.origin)
    const clock = Context.get(services, Clock.Clock)
    if (this.live && isLive(clock)) this.liveServices = services
    return this.now(clock)
  }

  private offsetOf(clock: Clock.Clock): number {
    this.offsets ??= new WeakMap()
    let offset = this.offsets.get(clock)
    if (offset === undefined) {
      offset = read(this.clock) - this.origin - read(clock)
      this.offsets.set(clock, offset)
    }
    return offset
  }
}
