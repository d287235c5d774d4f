/**
 * The shape of a bench: one folder `packages/<package>/bench/<bench>/` with `bench.ts`, whose default export is a `Question`,
 * and beside it one file per contestant, whose default export is a `Contestant`. `scripts/README.md` shows a whole one.
 */

/** What a bench asks. */
export interface Question {
  /** One sentence with a question mark: what the numbers answer. */
  readonly question: string
  /** The contestant (its file's name without `.ts`) that the others' times are divided by. */
  readonly baseline: string
  /** What a reader could think the numbers say, and they do not. */
  readonly doesNotShow: string
  /** What the question is asked of, each with a table of its own: a contestant's `setup` gets one of them. */
  readonly variants?: ReadonlyArray<string>
  /** Milliseconds of running before the clock starts, for all contestants alike; 1,000 unless a bench says how long its engine needs to settle. */
  readonly warmUp?: number
  /** Milliseconds on the clock; 500 unless said. */
  readonly onTheClock?: number
}

/**
 * One way to do what the question is about. Each round runs it in a new process: `setup` once, then `run` again and again, first to
 * warm up and then on the clock, `validate` after each, off the clock. A run that answers synchronously is not awaited.
 */
export interface Contestant<State, Result> {
  /** Builds what `run` works on, for one of the question's variants if it has some. */
  readonly setup: (variant: string) => State | Promise<State>
  /** Does the work and returns what came out, so that no engine can leave it undone. Choose `ops` so that it lasts a millisecond or more. */
  readonly run: (state: State) => Result | Promise<Result>
  /** How many operations one run does; times are reported for one of them. */
  readonly ops: number
  /** Says that one run takes so long that it is not repeated, not even to warm up: on the clock it is run once. */
  readonly once?: boolean
  /** Throws when the result is wrong: a contestant that does not do the work does not compete. */
  readonly validate: (result: Result, state: State) => void
  /** Gives back what `setup` took. */
  readonly teardown?: (state: State) => void | Promise<void>
}
