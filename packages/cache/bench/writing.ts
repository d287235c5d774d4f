/** Writes through a Repo, with and without a change feed. */
import { Model, SqlClient } from "@effect/sql"
import { Repo, Table } from "@effecto/core"
import { EmbeddedPostgres } from "@effecto/core/testing"
import { Effect, Layer, ManagedRuntime, Schema } from "effect"
import type { Contestant } from "../../../scripts/bench/Contestant.js"

class Person extends Model.Class<Person>("Person")({ id: Schema.Number, age: Schema.Number }) {}
const People = Table.make(Person, { name: "people", key: "id" })

const ALONE = "a write by itself"
const TOGETHER = "ten in a transaction"
export const variants: ReadonlyArray<string> = [ALONE, TOGETHER]

const WRITES = 50

export interface Writing {
  readonly runtime: ManagedRuntime.ManagedRuntime<Repo.Repo, unknown>
  readonly program: Effect.Effect<number, unknown, Repo.Repo>
}

const written = (key: number) => Effect.map(Repo.update(People, key, { age: key }), ({ age }) => age)
const summed = (keys: ReadonlyArray<number>) =>
  Effect.gen(function* () {
    let sum = 0
    for (const key of keys) sum += yield* written(key)
    return sum
  })

const keys = Array.from({ length: WRITES }, (_, at) => at + 1)
const tens = Array.from({ length: WRITES / 10 }, (_, at) => keys.slice(at * 10, at * 10 + 10))

const programs: Record<string, Effect.Effect<number, unknown, Repo.Repo>> = {
  [ALONE]: summed(keys),
  [TOGETHER]: Effect.gen(function* () {
    let sum = 0
    for (const ten of tens) sum += yield* Repo.transact(summed(ten))
    return sum
  })
}

const filled = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`create table people (id int primary key, age int not null)`
  yield* sql`insert into people select i, 0 from generate_series(1, ${WRITES}) i`
})

/** With whatever `above` puts above the Repo. */
export const writing = <A, E>(above: Layer.Layer<A, E, Repo.Repo>): Contestant<Writing, number> => ({
  setup: async (variant) => {
    const program = programs[variant]
    if (program === undefined) throw new Error(`there is no program for "${variant}"`)
    const runtime = ManagedRuntime.make(
      above.pipe(
        Layer.provideMerge(Repo.layer()),
        Layer.provideMerge(Layer.effectDiscard(filled)),
        Layer.provideMerge(EmbeddedPostgres)
      )
    )
    await runtime.runPromise(Effect.void)
    return { runtime, program }
  },
  ops: WRITES,
  run: ({ program, runtime }) => runtime.runPromise(program),
  validate: (sum) => {
    if (sum !== (WRITES * (WRITES + 1)) / 2) throw new Error(`what was written adds up to ${sum}`)
  },
  teardown: ({ runtime }) => runtime.dispose()
})
