/**
 * What a function of a service has answered with so far: it tells what to answer with while the child is down, and whether an
 * answer at hand is all that there is to it.
 */
import type { Primitive } from "./steps.js"
import { answerOf, isPlain } from "./success.js"

export const [isEffect, isStream, isReturned, isValue] = [1, 2, 4, 8]

export class Shape {
  /** One bit for each kind. */
  seen = 0
  /** Whether an answer at hand is one of Effect's own with nothing more to it: told by the first. */
  private isPlain: boolean | undefined
  private tagged: Shape | undefined
  private returned: Shape | undefined

  /** That of calls like this one: as the tag of a template, a function is another one. */
  of(args: ReadonlyArray<unknown>): Shape {
    const first = args[0]
    if (!Array.isArray(first) || !Object.hasOwn(first, "raw")) return this
    this.tagged ??= new Shape()
    return this.tagged
  }

  /** An answer that is at hand already, a success or a failure, as it is given to the caller. */
  answer(result: Primitive): object {
    this.seen |= isEffect
    if (result._op !== "Success") return result
    this.isPlain ??= isPlain(result)
    return this.isPlain ? answerOf(result.effect_instruction_i0) : result
  }

  /** That of the functions it returns. */
  get result(): Shape {
    this.returned ??= new Shape()
    return this.returned
  }
}
