/** Keys that are looked up together, and what comes of each. */
import { Effect, Either, Exit, Option } from "effect"
import { type Keyed, KeyMap, keyOf } from "./keyMap.js"

type Pairs<K, V, E> = Iterable<readonly [key: K, result: Either.Either<V, E>]>

/** What a `lookupAll` has brought, by key. */
type Found<K, V, E> = KeyMap<K, Keyed<K> & { readonly result: Either.Either<V, E> }>

const nothingFound = <K, V, E>(): Found<K, V, E> => new KeyMap(keyOf)

/** Runs a `lookupAll`: what it throws is a defect of the effect. */
export const lookUpTogether = <K, V, E>(
  lookupAll: (keys: ReadonlyArray<K>) => Effect.Effect<Pairs<K, V, E>, E>,
  keys: ReadonlyArray<K>
): Effect.Effect<Found<K, V, E>, E> =>
  Effect.map(
    Effect.suspend(() => lookupAll(keys)),
    (pairs) => {
      const found = nothingFound<K, V, E>()
      for (const [key, result] of pairs) found.set(key, { key, result })
      return found
    }
  )

/** What was found for a key: a key that was left out has nothing. */
export const resultOf = <K, V, E>(found: Found<K, V, E>, key: K): Exit.Exit<Option.Option<V>, E> => {
  const there = found.get(key)
  if (there === undefined) return Exit.succeed(Option.none())
  return Either.isRight(there.result) ? Exit.succeed(Option.some(there.result.right)) : Exit.fail(there.result.left)
}

/** As many at a time as that; all together where there is no limit. */
export const batches = <A>(all: ReadonlyArray<A>, size: number = all.length): ReadonlyArray<ReadonlyArray<A>> => {
  const made: Array<ReadonlyArray<A>> = []
  for (let from = 0; from < all.length; from += size) made.push(all.slice(from, from + size))
  return made
}

/** The keys, each once. */
export const distinctKeys = <K>(keyed: ReadonlyArray<Keyed<K>>): ReadonlyArray<K> => {
  const seen = new KeyMap<K, Keyed<K>>(keyOf)
  for (const one of keyed) seen.set(one.key, one)
  return Array.from(seen.values(), keyOf)
}
