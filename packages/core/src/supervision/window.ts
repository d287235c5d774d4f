/**
 * The restarts that count against an intensity: those of the last `period` milliseconds, one exactly so long ago included.
 *
 * A time is written once and passed once, when it is too old; with a high intensity there may be very many. What was passed is let
 * go of when it is half of what is held, so that no more is held than twice what counts.
 */
export class Window {
  /** Oldest first. Those before `oldest` do not count any more. */
  private times: Array<number> = []
  private oldest = 0

  constructor(private readonly period: number) {}

  /** Counts one more, at a time that is not before that of the last one, and answers with how many count with it. */
  add(now: number): number {
    this.times.push(now)
    return this.countAt(now)
  }

  /** How many count at `now`. */
  countAt(now: number): number {
    const since = now - this.period
    const { length } = this.times
    while (this.oldest < length && (this.times[this.oldest] ?? since) < since) this.oldest++
    if (this.oldest * 2 > length) {
      this.times = this.times.slice(this.oldest)
      this.oldest = 0
    }
    return this.count
  }

  /** How many counted when that was last asked. */
  get count(): number {
    return this.times.length - this.oldest
  }
}
