/** Rows are instances of their model, whatever its constructor does. */
import { Model, SqlClient } from "@effect/sql"
import { describe, expect, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import * as Repo from "../../src/repo/Repo.js"
import { onlyAssigns } from "../../src/repo/rowclass.js"
import * as Table from "../../src/repo/Table.js"

import { TestRepo } from "./people.js"

class Plain extends Model.Class<Plain>("Plain")({ id: Schema.Number, name: Schema.String }) {}

class Methods extends Model.Class<Methods>("Methods")({ id: Schema.Number, name: Schema.String }) {
  static {
    Object.defineProperty(Methods, "plural", { value: "{" })
  }
  static of(name: string) {
    return new Methods({ id: 0, name })
  }
  get greeting() {
    // A brace in a comment: }
    return `Hello ${`${this.name}`}}`
  }
  async shout(times = 1): Promise<string> {
    return "}".repeat(times) + this.name
  }
  [Symbol.toPrimitive]() {
    return this.id
  }
}

class Private extends Model.Class<Private>("Private")({ id: Schema.Number, name: Schema.String }) {
  #seen = 0
  look() {
    this.#seen += 1
    return this.#seen
  }
}

class PrivateMethod extends Model.Class<PrivateMethod>("PrivateMethod")({ id: Schema.Number, name: Schema.String }) {
  #secret() {
    return this.name
  }
  tell() {
    return this.#secret()
  }
}

class Frozen extends Model.Class<Frozen>("Frozen")({ id: Schema.Number, name: Schema.String }) {
  constructor(...all: ConstructorParameters<typeof Plain>) {
    super(...all)
    Object.freeze(this)
  }
}

class WithField extends Model.Class<WithField>("WithField")({ id: Schema.Number, name: Schema.String }) {
  readonly loadedAs = "row"
}

class Below extends Private {}

class Defaulted extends Model.Class<Defaulted>("Defaulted")({
  id: Schema.Number,
  name: Schema.optional(Schema.String).pipe(Schema.withConstructorDefault(() => "nobody"))
}) {}

class Arrow extends Model.Class<Arrow>("Arrow")({ id: Schema.Number, name: Schema.String }) {
  readonly call = () => ({})
}

class Commented extends Model.Class<Commented>("Commented")({ id: Schema.Number, name: Schema.String }) {
  look() {
    return this.#seen
  }
  #seen = 0 // {
}

/** Fields that look like methods to a careless reader. */
const disguised = [
  "class extends Plain { 'name'; look() {} }",
  "class extends Plain { get\n *look() {} }",
  "class extends Plain { async\n look() {} }",
  "class extends Plain { ['name']; look() {} }",
  "class extends Plain { static {} look() {} name }"
].map((text): typeof Plain => new Function("Plain", `return ${text}`)(Plain))

describe("onlyAssigns", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it("is true for a model as Model.Class makes it, with methods and accessors too", () => {
      expect([Plain, Methods].map(onlyAssigns)).toEqual([true, true])
    })

    it("is false for fields, private parts, constructors, what is below them, and when in doubt", () => {
      const Doubtful = class extends Model.Class<Plain>("Doubtful")({
        id: Schema.Number,
        name: Schema.String.pipe(Schema.pattern(/[{"]/))
      }) {
        get length() {
          return this.name.length
        }
      }
      const models = [
        Private,
        PrivateMethod,
        Frozen,
        WithField,
        Below,
        Defaulted,
        Arrow,
        Commented,
        Doubtful,
        ...disguised
      ]
      expect(models.map(onlyAssigns)).toEqual(models.map(() => false))
    })
  })
})

describe("a row", () => {
  layer(TestRepo, { excludeTestServices: true })((it) => {
    it.effect("has what its class gives to it, the second and the last too", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`create table things (id int primary key, name text)`
        yield* sql`insert into things values (1, 'a'), (2, null), (3, 'c')`
        const rows = <T extends Table.Any>(table: T) => Repo.all(table, sql`true order by id`)
        const defaulted = Table.make(Defaulted, { name: "things", key: "id" })
        expect((yield* rows(defaulted)).map((row) => row.name)).toEqual(["a", "nobody", "c"])
        yield* sql`update things set name = 'b' where id = 2`
        const [first, ...others] = yield* rows(Table.make(Private, { name: "things", key: "id" }))
        expect([first, ...others].map((row) => row?.look())).toEqual([1, 1, 1])
        const told = yield* rows(Table.make(PrivateMethod, { name: "things", key: "id" }))
        expect(told.map((row) => row.tell())).toEqual(["a", "b", "c"])
        const frozen = yield* rows(Table.make(Frozen, { name: "things", key: "id" }))
        expect(frozen.map(Object.isFrozen)).toEqual([true, true, true])
        const fields = yield* rows(Table.make(WithField, { name: "things", key: "id" }))
        expect(fields.map((row) => row.loadedAs)).toEqual(["row", "row", "row"])
        const plain = yield* rows(Table.make(Plain, { name: "things", key: "id" }))
        expect(plain).toEqual(["a", "b", "c"].map((name, at) => new Plain({ id: at + 1, name })))
        expect(plain[2]).toBeInstanceOf(Plain)
      })
    )
  })
})
