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
    const { parameters, table } = this
    const place = parameters.length
    const invalid = ({ expected }: Mismatch) => new InvalidInput({ table, field, expected })
    try {
      const encoded = column.encode(value)
      parameters.push(encoded)
      if (encoded instanceof Later) {
        this.later ??= []
        this.later.push(
          Effect.mapBoth(encoded.value, {
            onFailure: invalid,
            onSuccess: (late) => {
              parameters[place] = late
            }
          })
        )
      }
      return undefined
    } catch (problem) {
      if (problem instanceof Mismatch) return invalid(problem)
      throw problem
    }
  }

  /** `done`, once everything is known. */
  finish<A>(done: A): Effect.Effect<A, InvalidInput> {
    return this.later === undefined ? Effect.succeed(done) : Effect.as(Effect.all(this.later, { discard: true }), done)
  }
}
