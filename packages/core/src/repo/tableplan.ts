/**
 * What a table needs at every call, computed once: column names, the closures of its fields, the texts of its statements.
 */
import { Effect, type Schema } from "effect"
import { quoted, snakeCase } from "./columnnames.js"
import { Encoding } from "./encoding.js"
import { type FieldPlan, fieldPlan, Mismatch } from "./fieldplan.js"
import { DbError, type InvalidInput } from "./RepoError.js"
import { onlyAssigns } from "./rowclass.js"
import { misfit, type RowDecoder, rowDecoder, type Shape, type Stored, shapeOf } from "./rowdecoder.js"
import { standsFor } from "./standing.js"
import { type Source, source } from "./statementlog.js"

/** A model as it is looked into here: its fields, and what it makes of them. */
export interface ModelParts {
  readonly fields: Schema.Struct.Fields
  readonly insert: { readonly fields?: Schema.Struct.Fields }
  readonly update: { readonly fields?: Schema.Struct.Fields }
}

export interface Column extends FieldPlan {
  readonly column: string
}

/** Columns that the Repo itself keeps. */
export interface Kept {
  /** Counts the updates of a row. */
  readonly version?: string | undefined
  /** Holds when a row was deleted. */
  readonly softDelete?: string | undefined
}

/** The texts of reads: of rows that are not deleted, or of all of them. */
export interface Reads {
  readonly selectText: string
  /** The rows without any columns: to be counted, or to be. */
  readonly rowsText: string
  /** What rows are taken from. */
  readonly fromText: string
  readonly getText: string
  /** Of the rows whose key, of one field, is one of a list. */
  readonly anyText: string
}

/** The columns and parameters of a write. */
export interface Values {
  readonly columns: ReadonlyArray<string>
  readonly parameters: ReadonlyArray<unknown>
}

/** What was done to the row before it was found not to fit. */
export type Done = "inserted" | "changed" | "deleted"

const prepositions: Readonly<Record<Done, string>> = { inserted: "into", changed: "in", deleted: "from" }

const rowIsNo = (table: string, field: string, column: string, problem: Mismatch, done: Done | undefined) =>
  new DbError({
    operation: done === undefined ? `read ${table}` : `read what was ${done} ${prepositions[done]} ${table}`,
    kind: "decode",
    code: undefined,
    retryable: false,
    reason: [
      `column ${column} holds ${problem.actual}, but field ${field} of the model expects ${problem.expected}.`,
      problem.remedy ?? "Correct the model, or the column's type.",
      ...(done === undefined
        ? []
        : [`The row was ${done} all the same, unless a transaction around it is rolled back.`])
    ].join(" "),
    cause: undefined
  })

const isSame = (one: unknown, other: unknown): boolean =>
  one === other || (one instanceof Date && other instanceof Date && one.getTime() === other.getTime())

const strayed = (operation: string, field: string) =>
  new DbError({
    operation,
    kind: "refused",
    code: undefined,
    retryable: false,
    reason: `it is narrowed to rows with a certain ${field}, and a hook, or the model, would have another one written`,
    cause: undefined
  })

/** A field may be called like what every object has. */
const ownName = (names: Readonly<Record<string, string>>, field: string): string | undefined =>
  Object.hasOwn(names, field) ? names[field] : undefined

/** Between names in a key: no name of PostgreSQL's holds it. */
const between = "\0"

/** Texts of writes, one for each set of columns: as many as a program has kinds of writes, and never without bound. */
const maximalTexts = 500

export class TablePlan implements Reads {
  readonly source: Source
  /** `"people"`, or `"schema"."people"`. */
  readonly sqlName: string
  readonly selectText: string
  readonly rowsText: string
  readonly fromText: string
  readonly getText: string
  readonly anyText: string
  /** The same with rows that were deleted softly. */
  readonly withDeleted: Reads
  /** The fields of the key: more than one when it is composite. */
  readonly keyFields: ReadonlyArray<string>
  readonly version: Column | undefined
  readonly softDelete: Column | undefined
  readonly columns: ReadonlyArray<Column>
  readonly returning: string
  private readonly byName: ReadonlyMap<string, Column>
  private readonly insertFields: ReadonlyMap<string, Column>
  private readonly updateFields: ReadonlyMap<string, Column>
  private readonly keyColumns: ReadonlyArray<Column>
  /** Fields that no update is given. */
  private readonly unchangeable: ReadonlySet<string | undefined>
  private readonly texts = new Map<string, string>()
  /** Whether rows can be made without the model's constructor. */
  private readonly assigns: boolean
  private readonly decoders: { [_ in Shape]?: RowDecoder } = {}

  constructor(
    readonly name: string,
    readonly key: string | ReadonlyArray<string>,
    private readonly model: (new (props: never, options: { readonly disableValidation: true }) => object) & ModelParts,
    readonly schema: string | undefined,
    private readonly columnNames: Readonly<Record<string, string>>,
    private readonly kept: Kept = {},
    /** Fields whose values every statement asks for: see {@link narrowed}. */
    private readonly standing: ReadonlyArray<string> = []
  ) {
    const columnsOf = (fields: Schema.Struct.Fields): ReadonlyMap<string, Column> =>
      new Map(
        Object.entries(fields).map(([field, schemaOfField]) => {
          const plan = fieldPlan(field, schemaOfField)
          return [field, { ...plan, column: ownName(columnNames, field) ?? snakeCase(plan.storedName) }] as const
        })
      )
    this.byName = columnsOf(model.fields)
    this.assigns = onlyAssigns(model)
    this.columns = [...this.byName.values()]
    this.insertFields = columnsOf(model.insert.fields ?? {})
    this.updateFields = columnsOf(model.update.fields ?? {})
    const fieldOf = new Map<string, string>()
    for (const fields of [this.byName, this.insertFields, this.updateFields])
      for (const [field, { column }] of fields) {
        const other = fieldOf.get(column)
        if (other !== undefined && other !== field)
          throw new Error(
            `table ${name}: its fields ${other} and ${field} are both column ${column}: name another for one of them in Table.make's columns`
          )
        fieldOf.set(column, field)
      }
    const known = (field: string, role: string): Column => {
      const column = this.byName.get(field)
      if (column === undefined)
        throw new Error(`table ${name}: its model has no field ${field}, which Table.make was given as ${role}`)
      return column
    }
    this.keyFields = typeof key === "string" ? [key] : key
    if (this.keyFields.length === 0) throw new Error(`table ${name}: Table.make was given a key of no fields`)
    this.keyColumns = this.keyFields.map((field) => known(field, "the key"))
    this.version = kept.version === undefined ? undefined : known(kept.version, "the version")
    this.softDelete = kept.softDelete === undefined ? undefined : known(kept.softDelete, "softDelete")
    this.unchangeable = new Set([...this.keyFields, kept.version, kept.softDelete])
    this.source = source(name, true)
    this.sqlName = schema === undefined ? quoted(name) : `${quoted(schema)}.${quoted(name)}`
    const list = this.columns.map((column) => quoted(column.column)).join(", ")
    this.returning = ` returning ${list}`
    const reads = (fromText: string): Reads => {
      const selectText = `select ${list} from ${fromText}`
      return {
        fromText,
        selectText,
        rowsText: `select from ${fromText}`,
        getText: `${selectText} where ${this.keyText(1)}`,
        anyText: `${selectText} where ${quoted(this.keyColumns[0]?.column ?? "")} = any($1)`
      }
    }
    this.withDeleted = reads(
      standing.length === 0
        ? this.sqlName
        : `(select * from ${this.sqlName} where ${this.standingText}) as ${quoted(name)}`
    )
    // Whatever comes behind, an order and a limit too, is about these rows; PostgreSQL takes such a query apart again.
    const live =
      this.softDelete === undefined
        ? this.withDeleted
        : reads(`(select * from ${this.withDeleted.fromText} where ${this.liveText}) as ${quoted(name)}`)
    this.fromText = live.fromText
    this.selectText = live.selectText
    this.rowsText = live.rowsText
    this.getText = live.getText
    this.anyText = live.anyText
  }

  /** The same table in another schema of the database. */
  inSchema(schema: string): TablePlan {
    return new TablePlan(this.name, this.key, this.model, schema, this.columnNames, this.kept, this.standing)
  }

  private readonly narrower = new Map<string, TablePlan>()

  /** The same table, with statements that see only rows whose fields have the values that stand for them when a statement is sent. */
  narrowed(fields: ReadonlyArray<string>): TablePlan {
    const names = [...new Set([...this.standing, ...fields])].sort()
    const known = this.narrower.get(names.join(between))
    if (known !== undefined) return known
    const plan = new TablePlan(this.name, this.key, this.model, this.schema, this.columnNames, this.kept, names)
    this.narrower.set(names.join(between), plan)
    return plan
  }

  private get standingText(): string {
    return this.standing
      .map((name) => {
        const column = this.byName.get(name)
        if (column === undefined)
          throw new Error(`table ${this.name} has no field ${name}, which a middleware narrows it by`)
        return `${quoted(column.column)} = ${standsFor(name)}`
      })
      .join(" and ")
  }

  /** The key's columns, as they are compared with the parameters from `$first` on. */
  keyText(first: number): string {
    const key = this.keyColumns.map(({ column }, at) => `${quoted(column)} = $${first + at}`).join(" and ")
    return this.standing.length === 0 ? key : `${key} and ${this.standingText}`
  }

  /** What holds for every row that a write of many may reach; nothing where that is all of them. */
  get reachText(): string {
    return [
      ...(this.softDelete === undefined ? [] : [this.liveText]),
      ...(this.standing.length === 0 ? [] : [this.standingText])
    ].join(" and ")
  }

  get liveText(): string {
    return this.softDelete === undefined ? "true" : `${quoted(this.softDelete.column)} is null`
  }

  /** Rows as the driver gives them, as instances of the model; lists hold the values of all columns, in their order. */
  decode(rows: ReadonlyArray<Stored>, done?: Done): ReadonlyArray<object> | DbError {
    const { assigns, model } = this
    const shape = shapeOf(rows)
    const decodeRow = this.decoder(shape)
    const decoded: Array<object> = []
    for (const row of rows) {
      try {
        const properties = decodeRow(row)
        // Sound: the fields were decoded one by one.
        decoded.push(assigns ? properties : new model(properties as never, { disableValidation: true }))
      } catch (problem) {
        const found = problem instanceof Mismatch ? misfit(this.columns, row, shape) : undefined
        if (found === undefined) throw problem
        return rowIsNo(this.name, found.column.name, found.column.column, found.problem, done)
      }
    }
    return decoded
  }

  /** Made when it is first needed, because a table has a plan for each schema it is asked in; and kept where plans that are made of this one find it. */
  private decoder(shape: Shape): RowDecoder {
    let decoder = this.decoders[shape]
    if (decoder === undefined) {
      decoder = rowDecoder(this.columns, this.assigns ? this.model.prototype : Object.prototype, shape)
      this.decoders[shape] = decoder
    }
    return decoder
  }

  /** A row's key as it is stored, to be compared with what {@link encodeKey} gives; nothing when it is composite, or none. */
  storedKey(row: Stored, shape: Shape): unknown {
    const [column, ...others] = this.keyColumns
    if (column === undefined || others.length > 0) return undefined
    try {
      return column.encode(column.decode(row[shape === "listed" ? this.columns.indexOf(column) : column.column]))
    } catch (problem) {
      if (problem instanceof Mismatch) return undefined
      throw problem
    }
  }

  /** The parameters for a key; fails when it is no value of the key's fields: then there is no such row. */
  encodeKey(key: unknown): Effect.Effect<ReadonlyArray<unknown>, InvalidInput> {
    const { keyColumns } = this
    const encoding = new Encoding(this.name)
    const isComposite = typeof this.key !== "string"
    for (let at = 0; at < keyColumns.length; at += 1) {
      // Sound: below the length.
      const column = keyColumns[at] as Column
      // Sound: whatever it is, it is looked at by the names of its fields.
      const value = isComposite ? (Object(key) as Record<string, unknown>)[column.name] : key
      const invalid = encoding.add(column.name, column, value)
      if (invalid !== undefined) return Effect.fail(invalid)
    }
    return encoding.finish(encoding.parameters)
  }

  encodeInsert(row: Readonly<Record<string, unknown>>): Effect.Effect<Values, InvalidInput | DbError> {
    return this.within(this.encode(this.insertFields, row, true), `insert into ${this.name}`, true)
  }

  /**
   * Of an insert whose rows a query gives: the columns that it gives, and those that are the same for all rows, because they are given so or because the
   * model makes them. Throws what can only be a mistake.
   */
  encodeQueried(
    fields: ReadonlyArray<string>,
    values: Readonly<Record<string, unknown>>
  ): Effect.Effect<{ readonly given: ReadonlyArray<string>; readonly constants: Values }, InvalidInput | DbError> {
    const given = fields.map((name) => {
      const field = this.insertFields.get(name)
      if (field === undefined) throw new Error(`${this.name} has no field ${name} that is inserted`)
      if (values[name] !== undefined)
        throw new Error(`field ${name} of ${this.name} is given by a query, and as a value for all of its rows`)
      return field.column
    })
    const unknown = Object.keys(values).find((name) => !this.insertFields.has(name))
    if (unknown !== undefined) throw new Error(`${this.name} has no field ${unknown} that is inserted`)
    const columns: Array<string> = []
    const encoding = new Encoding(this.name)
    for (const [name, field] of this.insertFields) {
      if (fields.includes(name)) continue
      const own = values[name]
      if (own === undefined && field.missing === undefined) continue
      if (own === undefined && this.keyFields.includes(name))
        throw new Error(
          `the model of ${this.name} makes ${name}, and each row needs an ${name} of its own: let the query give it, by gen_random_uuid() for example`
        )
      columns.push(field.column)
      const invalid = encoding.add(name, field, own === undefined ? field.missing?.() : own)
      if (invalid !== undefined) return Effect.fail(invalid)
    }
    const constants = encoding.finish({ columns, parameters: encoding.parameters })
    return Effect.map(this.within(constants, `insert into ${this.name}`, true), (all) => ({ constants: all, given }))
  }

  encodeUpdate(patch: Readonly<Record<string, unknown>>): Effect.Effect<Values, InvalidInput | DbError> {
    return this.within(this.encode(this.updateFields, patch, false), `update ${this.name}`, false)
  }

  /** What is written, unless a middleware keeps the call to rows with other values: hooks may have given some. */
  private within(
    encoded: Effect.Effect<Values, InvalidInput>,
    operation: string,
    whole: boolean
  ): Effect.Effect<Values, InvalidInput | DbError> {
    const { standing } = this.source
    if (standing === undefined) return encoded
    return Effect.flatMap(encoded, (values) => {
      for (const [name, value] of standing) {
        const column = this.byName.get(name)?.column
        const at = column === undefined ? -1 : values.columns.indexOf(column)
        if (at < 0 ? whole : !isSame(values.parameters[at], value)) return Effect.fail(strayed(operation, name))
      }
      return Effect.succeed(values)
    })
  }

  /** Whether a patch would change nothing. */
  isEmpty(patch: Readonly<Record<string, unknown>>): boolean {
    for (const [name] of this.updateFields) if (!this.unchangeable.has(name) && patch[name] !== undefined) return false
    return true
  }

  private encode(
    fields: ReadonlyMap<string, Column>,
    given: Readonly<Record<string, unknown>>,
    whole: boolean
  ): Effect.Effect<Values, InvalidInput> {
    const columns: Array<string> = []
    const encoding = new Encoding(this.name)
    for (const [name, field] of fields) {
      let value = given[name]
      if (!whole && this.unchangeable.has(name)) continue
      const absent = value === undefined
      if (absent && (whole ? field.missing !== undefined : field.isGenerated)) value = field.missing?.()
      else if (absent && (!whole || field.isOptional)) continue
      columns.push(field.column)
      const invalid = encoding.add(name, field, value)
      if (invalid !== undefined) return Effect.fail(invalid)
    }
    return encoding.finish({ columns, parameters: encoding.parameters })
  }

  /** A field of the rows that are read. */
  field(name: string): Column | undefined {
    return this.byName.get(name)
  }

  /** `conflict` is what stands behind the values. */
  insertText(columns: ReadonlyArray<string>, conflict = ""): string {
    return this.text(`insert ${columns.join(between)}${between}${conflict}`, () =>
      columns.length === 0
        ? `insert into ${this.sqlName} default values${conflict}${this.returning}`
        : `insert into ${this.sqlName} (${columns.map(quoted).join(", ")}) values (${columns.map((_, at) => `$${at + 1}`).join(", ")})${conflict}${this.returning}`
    )
  }

  /** The key comes behind the columns' parameters, and behind it the version, where that is checked. */
  updateText(columns: ReadonlyArray<string>, checksVersion: boolean): string {
    return this.text(`update ${checksVersion} ${columns.join(between)}`, () =>
      this.changeText(this.assignments(columns), this.targetText(columns.length + 1, checksVersion))
    )
  }

  /** What an update sets: these columns to the parameters from `$first` on, and the version one up. */
  assignments(columns: ReadonlyArray<string>, first = 1): string {
    const given = columns.map((column, at) => `${quoted(column)} = $${first + at}`)
    return [...given, ...this.increment].join(", ")
  }

  /** A delete, or the mark of one. The key comes first, and behind it the version, where that is checked. */
  deleteText(checksVersion: boolean): string {
    return this.text(`delete ${checksVersion}`, () => {
      const target = this.targetText(1, checksVersion)
      return this.softDelete === undefined
        ? `delete from ${this.sqlName} where ${target}${this.returning}`
        : this.changeText(this.marking, target)
    })
  }

  /** What a soft delete sets. */
  get marking(): string {
    return this.softDelete === undefined
      ? ""
      : [`${quoted(this.softDelete.column)} = now()`, ...this.increment].join(", ")
  }

  /** Takes the mark of a soft delete away again. */
  get restoreText(): string {
    return this.text("restore", () => {
      if (this.softDelete === undefined)
        throw new Error(`rows of ${this.name} cannot be restored: Table.make was given no softDelete`)
      const column = quoted(this.softDelete.column)
      return this.changeText(
        [`${column} = null`, ...this.increment].join(", "),
        `${this.keyText(1)} and ${column} is not null`
      )
    })
  }

  private changeText(assignments: string, target: string): string {
    return `update ${this.sqlName} set ${assignments} where ${target}${this.returning}`
  }

  private targetText(first: number, checksVersion: boolean): string {
    const tests = [this.keyText(first)]
    if (checksVersion && this.version !== undefined)
      tests.push(`${quoted(this.version.column)} = $${first + this.keyColumns.length}`)
    if (this.softDelete !== undefined) tests.push(this.liveText)
    return tests.join(" and ")
  }

  /** Sets the version one up. */
  get increment(): ReadonlyArray<string> {
    if (this.version === undefined) return []
    const column = quoted(this.version.column)
    return [`${column} = ${this.sqlName}.${column} + 1`]
  }

  private text(name: string, make: () => string): string {
    let text = this.texts.get(name)
    if (text === undefined) {
      text = make()
      if (this.texts.size < maximalTexts) this.texts.set(name, text)
    }
    return text
  }
}
