import { Effect } from "effect"

export const CALLERS = 1_000

/** A load of 5 ms that counts itself. */
export const makeLoad = () => {
  const counted = { loads: 0 }
  const load = Effect.zipRight(
    Effect.sync(() => {
      counted.loads += 1
    }),
    Effect.as(Effect.sleep("5 millis"), 1)
  )
  return { counted, load }
}

/** The sum of what so many fibers get that all run this effect. */
export const everybody = <E>(effect: Effect.Effect<number, E>): Effect.Effect<number, E> =>
  Effect.map(
    Effect.forEach(Array.from({ length: CALLERS }), () => effect, { concurrency: "unbounded" }),
    (values) => values.reduce((sum, value) => sum + value, 0)
  )

export const validateCallers = (sum: number): void => {
  if (sum !== CALLERS) throw new Error(`${sum} of ${CALLERS} callers were answered`)
}
