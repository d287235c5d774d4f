/** The table of docs/hooks.md says which call runs which hook: every call of the Repo is made, and what ran is compared. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { expect, layer } from "@effect/vitest"
import { Effect, Option, Stream } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import type { HookName } from "../../src/repo/Table.js"
import * as Table from "../../src/repo/Table.js"
import { ada, freshTables, People, TestRepo } from "./people.js"

const row = { ...ada, nickName: Option.none() }

const document = readFileSync(fileURLToPath(new URL("../../../../docs/hooks.md", import.meta.url)), "utf8")

/** The hooks of each call, as the table has them, in order. */
const documented = (): Record<string, ReadonlyArray<string>> => {
  const [, section = ""] = document.split("## Which call runs which hook")
  const lines = (section.split("\n## ")[0] ?? "").split("\n").filter((line) => /^\| `\w+` \|/.test(line))
  return Object.fromEntries(
    lines.map((line) => {
      const [call = "", ...hooks] = [...line.matchAll(/`(\w+)`/g)].map(([, word]) => word ?? "")
      return [call, hooks]
    })
  )
}

layer(TestRepo, { excludeTestServices: true })("each call of the Repo", (it) => {
  it.effect("runs the hooks that docs/hooks.md says", () =>
    Effect.gen(function* () {
      yield* freshTables
      const ran: Array<HookName> = []
      const note = <A>(value: A, delta: { readonly hook: HookName }) =>
        Effect.sync(() => {
          ran.push(delta.hook)
          return value
        })
      const noteOnly = (_: unknown, delta: { readonly hook: HookName }) => Effect.asVoid(note(undefined, delta))
      const Hooked = People.pipe(
        Table.hooks({
          bulk: true,
          beforeInsert: note,
          afterInsert: note,
          beforeUpdate: note,
          afterUpdate: note,
          beforeDelete: noteOnly,
          afterDelete: note,
          afterGet: note,
          beforeInsertAll: note,
          afterInsertAll: note,
          beforeUpdateAll: note,
          afterUpdateAll: note,
          beforeDeleteAll: noteOnly,
          afterDeleteAll: note,
          afterCommit: () => Effect.sync(() => void ran.push("afterCommit"))
        })
      )
      const repo = yield* Repo.Repo
      const person = yield* Repo.insert(People, row)
      const other = { ...row, email: "other" }
      const calls: Record<string, Effect.Effect<unknown, unknown>> = {
        get: repo.get(Hooked, person.id),
        fetch: repo.fetch(Hooked, person.id),
        getBy: repo.getBy(Hooked, { email: person.email }),
        fetchBy: repo.fetchBy(Hooked, { email: person.email }),
        one: repo.one(Hooked, { email: person.email }),
        all: repo.all(Hooked),
        page: repo.page(Hooked, { first: 1 }),
        stream: Stream.runDrain(repo.stream(Hooked)),
        reload: repo.reload(Hooked, [person]),
        preload: repo.preload(Hooked, [person], {}),
        exists: repo.exists(Hooked),
        count: repo.count(Hooked),
        aggregate: repo.aggregate(Hooked, "count", "id"),
        decode: repo.decode(Hooked, []),
        touch: repo.touch(Hooked),
        insert: repo.insert(Hooked, other),
        update: repo.update(Hooked, person, { age: 1 }),
        modify: repo.modify(Hooked, person.id, () => Effect.succeed({ age: 2 })),
        insertAll: repo.insertAll(Hooked, [{ ...row, email: "many" }]),
        updateAll: repo.updateAll(Hooked, { email: "many" }, { age: 3 }),
        deleteAll: repo.deleteAll(Hooked, { email: "many" }),
        delete: repo.delete(Hooked, person),
        // Only for tables that are deleted from softly; it would not compile here, and fails.
        restore: Effect.exit(repo.restore(Hooked as never, person as never))
      }
      const found: Record<string, ReadonlyArray<string>> = {}
      for (const [name, call] of Object.entries(calls)) {
        ran.length = 0
        yield* call
        found[name] = [...ran]
      }
      expect(found).toEqual(documented())
      // A call that is new belongs into the table.
      const all = Object.entries(repo).flatMap(([name, member]) => (typeof member === "function" ? [name] : []))
      expect(Object.keys(calls).toSorted()).toEqual(
        all.filter((name) => name !== "transact" && name !== "session").toSorted()
      )
    })
  )
})
