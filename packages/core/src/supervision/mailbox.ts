import * as Effect from "effect/Effect"

/**
 * Letters for one reader, in the order in which they were sent.
 *
 * Built on an array and one callback: nothing is allocated for a letter, and a reader with nothing to read is a suspended
 * fiber. Looking for a letter and asking to be woken are one step: a fiber may give way between any two, and a letter that
 * came in between would lie there until the next one.
 */
export class Mailbox<A> {
  private letters: Array<A | undefined> = []
  private read = 0
  private wake: (() => void) | undefined = undefined

  send(letter: A): void {
    this.letters.push(letter)
    const wake = this.wake
    this.wake = undefined
    wake?.()
  }

  /** The next letter, if there is one. */
  next(): A | undefined {
    const letter = this.letters[this.read]
    if (letter !== undefined) {
      // A hundred thousand may be sent at once, and each holds on to whoever waits for its answer.
      this.letters[this.read] = undefined
      this.read++
      // A reader that is always sent another letter before it has read the last one never finds it empty.
      if (this.read >= 1024 && this.read * 2 > this.letters.length) {
        this.letters = this.letters.slice(this.read)
        this.read = 0
      }
    } else if (this.read > 0) {
      this.letters = []
      this.read = 0
    }
    return letter
  }

  /** Waits until there is a letter to read. */
  readonly wait: Effect.Effect<void> = Effect.async<void>((resume) => {
    if (this.read < this.letters.length) resume(Effect.void)
    else this.wake = () => resume(Effect.void)
  })
}
