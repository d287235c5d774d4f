/** Values of fields as PostgreSQL takes them. */
import { Effect } from "effect"
import { type FieldPlan, Later, Mismatch } from "./fieldplan.js"
import { InvalidInput } from "./RepoError.js"

/** Values on their way to PostgreSQL: each by its column, some of them known later. */
export class Encoding {
  readonly parameters: Array<unknown> = []
  private later: Array<Effect.Effect<void, InvalidInput>> | undefined = undefined

  constructor(private readonly table: string) {}

  /** Answers with what is wrong with the value, if it is none of the field's. */
  add(field: string, column: FieldPlan, value: unknown): InvalidInput | undefined {
    try {
      const encoded = column.encode(value)
      this.parameters.push(encoded)
      if (encoded instanceof Later) this.wait(field, encoded)
      return undefined
    } catch (problem) {
      if (problem instanceof Mismatch) return this.invalid(field, problem)
      throw problem
    }
  }

  private invalid(field: string, { expected }: Mismatch): InvalidInput {
    return new InvalidInput({ table: this.table, field, expected })
  }

  private wait(field: string, { value }: Later): void {
    const place = this.parameters.length - 1
    this.later ??= []
    this.later.push(
      Effect.mapBoth(value, {
        onFailure: (problem) => this.invalid(field, problem),
        onSuccess: (late) => {
          this.parameters[place] = late
        }
      })
    )
  }

  /** `done`, once everything is known. */
  finish<A>(done: A): Effect.Effect<A, InvalidInput> {
    return this.later === undefined ? Effect.succeed(done) : Effect.as(Effect.all(this.later, { discard: true }), done)
  }
}
