/**
 * How one field of a model goes to its column and back, compiled once for each table into a closure.
 *
 * A field that only says what a value is (a string, a number, a literal, a refinement of those, null or one of those, a date) is checked by a few
 * comparisons. Any other field is decoded and encoded by its own Schema. Whole rows never go through Schema.
 *
 * PostgreSQL's int8 and numeric arrive as strings, because a JavaScript number cannot hold all of them: a number field takes those whose every digit
 * it gives back, and refuses the others rather than rounding them.
 *
 * NaN, the infinities and dates that are none are never sent. Only some columns could hold them, which a field does not know. They are read where the
 * database holds them.
 */
import { SchemaAST as AST, DateTime, Effect, Either, Option, ParseResult, Schema } from "effect"

/** Thrown while a row is decoded or encoded, and caught by whoever asked for it: a value that does not fit, without the value. */
export class Mismatch {
  constructor(
    readonly expected: string,
    readonly actual: string,
    /** What to do about it, where that is known: whole sentences. */
    readonly remedy?: string | undefined
  ) {}
}

/** What an encoder gives where the field's own Schema needs an effect (the time of day, for example). */
export class Later {
  constructor(readonly value: Effect.Effect<unknown, Mismatch>) {}
}

/** Throws {@link Mismatch}. */
export type Decode = (value: unknown) => unknown

/** Throws {@link Mismatch}, or gives {@link Later}. */
export type Encode = (value: unknown) => unknown

const actualType = (value: unknown): string =>
  value === null
    ? "null"
    : Array.isArray(value)
      ? "an array"
      : value instanceof Date
        ? "a date"
        : typeof value === "object"
          ? "an object"
          : `a ${typeof value}`

const decimal = /^-?(\d+(\.\d+)?|\.\d+)([eE][+-]?\d+)?$/

const notFinite: ReadonlyMap<string, number> = new Map([
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY]
])

/** The digits of a decimal number and where they stand, whatever the notation: `12.50` and `1.25e1` are both `125e-1`. */
const digitsOf = (text: string): string => {
  const [mantissa = "", exponent = "0"] = text.replace(/^-/, "").toLowerCase().split("e")
  const [whole = "", fraction = ""] = mantissa.split(".")
  const digits = `${whole}${fraction}`.replace(/^0+/, "")
  const significant = digits.replace(/0+$/, "")
  return significant === ""
    ? "0"
    : `${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`
}

/** int8 and numeric come as text. What a number cannot hold stays text, and is refused. */
export const numberFrom = (value: unknown): unknown => {
  if (typeof value !== "string") return value
  if (!decimal.test(value)) return notFinite.get(value) ?? value
  const number = Number(value)
  // Fifteen digits always come back.
  if (value.length <= 15 && !/e/i.test(value)) return number
  const isInRange = Number.isInteger(number) ? Number.isSafeInteger(number) : Number.isFinite(number)
  return isInRange && digitsOf(value) === digitsOf(String(number)) ? number : value
}

/** What values of a type are made of. */
const kindsOf = (ast: AST.AST): ReadonlyArray<string> => {
  switch (ast._tag) {
    case "StringKeyword":
    case "TemplateLiteral":
      return ["string"]
    case "NumberKeyword":
      return ["number"]
    case "BigIntKeyword":
      return ["bigint"]
    case "Literal":
      return [typeof ast.literal]
    case "Enums":
      return ast.enums.map(([_, value]) => typeof value)
    case "Refinement":
      return kindsOf(ast.from)
    case "Union":
      return ast.types.flatMap(kindsOf)
    default:
      return []
  }
}

const remedyFor = (ast: AST.AST, value: unknown): string | undefined => {
  if (value instanceof Date)
    return "The driver gives a date for it: use Schema.DateFromSelf, Model.DateTimeFromDate, Model.DateTimeInsertFromDate or Model.DateTimeUpdateFromDate."
  if (typeof value === "string" && decimal.test(value) && numberFrom(value) === value)
    return kindsOf(AST.encodedAST(ast)).includes("number")
      ? "A JavaScript number cannot hold that value exactly: use Schema.BigIntFromSelf, Schema.BigDecimal or Schema.String (Schema.NumberFromString rounds it)."
      : undefined
  return undefined
}

const mismatch = (ast: AST.AST, value: unknown) => new Mismatch(String(ast), actualType(value), remedyFor(ast, value))

const bigintFrom = (value: unknown): unknown =>
  typeof value === "string" && /^-?\d+$/.test(value)
    ? BigInt(value)
    : typeof value === "number" && Number.isSafeInteger(value)
      ? BigInt(value)
      : value

/** The literal that text stands for, if it stands for one. */
const oneOf =
  (isLiteral: (value: unknown) => boolean) =>
  (value: unknown): unknown =>
    isLiteral(value) ? value : ([numberFrom(value), bigintFrom(value)].find(isLiteral) ?? value)

const identity = (value: unknown): unknown => value

const checked =
  (ast: AST.AST, fits: (value: unknown) => boolean, prepare: (value: unknown) => unknown = identity): Decode =>
  (value) => {
    const prepared = prepare(value)
    if (fits(prepared)) return prepared
    throw mismatch(ast, value)
  }

/** The closure for a field that is what it is stored as; nothing for one that has to be transformed. `stored`: from the database. */
const plain = (ast: AST.AST, stored: boolean): Decode | undefined => {
  switch (ast._tag) {
    // The three commonest in closures of their own: they run once for each field of each row.
    case "StringKeyword":
      return (value) => {
        if (typeof value === "string") return value
        throw mismatch(ast, value)
      }
    case "NumberKeyword": {
      const other = checked(ast, (value) => typeof value === "number", stored ? numberFrom : identity)
      return (value) => (typeof value === "number" ? value : other(value))
    }
    case "BooleanKeyword":
      return (value) => {
        if (typeof value === "boolean") return value
        throw mismatch(ast, value)
      }
    case "BigIntKeyword":
      return checked(ast, (value) => typeof value === "bigint", stored ? bigintFrom : identity)
    case "UnknownKeyword":
    case "AnyKeyword":
      return identity
    case "Literal":
      return checked(ast, (value) => value === ast.literal, stored ? oneOf((value) => value === ast.literal) : identity)
    case "Refinement": {
      const from = plain(ast.from, stored)
      return from === undefined
        ? undefined
        : (value) => {
            const inner = from(value)
            if (Option.isNone(ast.filter(inner, AST.defaultParseOption, ast))) return inner
            throw mismatch(ast, value)
          }
    }
    case "Union": {
      const others = ast.types.filter((type) => !(type._tag === "Literal" && type.literal === null))
      const [only] = others
      if (others.length === 1 && only !== undefined && others.length < ast.types.length) {
        const inner = plain(only, stored)
        return inner === undefined ? undefined : (value) => (value === null ? null : inner(value))
      }
      const literals = new Set<unknown>(ast.types.map((type) => (type._tag === "Literal" ? type.literal : undefined)))
      if (literals.has(undefined)) return undefined
      const isLiteral = (value: unknown) => literals.has(value)
      return checked(ast, isLiteral, stored ? oneOf(isLiteral) : identity)
    }
    case "Declaration":
      return ast === Schema.DateFromSelf.ast ? checked(ast, (value) => value instanceof Date) : undefined
    default:
      return undefined
  }
}

/** Model.DateTimeFromDate's structure: a valid date on one side, a DateTime on the other. */
const isDateTimeFromDate = (ast: AST.AST): boolean =>
  ast._tag === "Transformation" &&
  ast.from === Schema.ValidDateFromSelf.ast &&
  ast.to === Schema.DateTimeUtcFromSelf.ast

const isValidDate = (value: unknown): value is Date => value instanceof Date && !Number.isNaN(value.getTime())

/** What the stored side of a transformation is, as far as text has to become a number for it. */
const prepareStored = (ast: AST.AST): ((value: unknown) => unknown) => {
  const kinds = kindsOf(AST.encodedAST(ast))
  if (kinds.includes("string")) return identity
  return kinds.includes("number") ? numberFrom : kinds.includes("bigint") ? bigintFrom : identity
}

const decodeBy = (ast: AST.AST): Decode => {
  const known = plain(ast, true)
  if (known !== undefined) return known
  if (isDateTimeFromDate(ast))
    return (value) => {
      if (isValidDate(value)) return DateTime.unsafeFromDate(value)
      throw mismatch(ast, value)
    }
  const prepare = prepareStored(ast)
  // Sound: a schema made of an AST has the types of nothing in particular.
  const parse = ParseResult.decodeUnknownEither(Schema.make<unknown, unknown>(ast))
  return (value) => {
    const parsed = parse(prepare(value))
    if (Either.isRight(parsed)) return parsed.right
    throw mismatch(ast, value)
  }
}

/** Parsers give an Either where no effect is needed, which is an Effect as well. */
const isDone = <A, E>(parsed: Effect.Effect<A, E>): parsed is Either.Either<A, E> => Either.isEither(parsed)

const encodeBy = (ast: AST.AST): Encode => {
  const known = plain(ast, false)
  if (known !== undefined) return known
  const parse = ParseResult.encodeUnknown(Schema.make<unknown, unknown>(ast))
  return (value) => {
    const parsed = parse(value)
    if (!isDone(parsed)) return new Later(Effect.mapError(parsed, () => mismatch(ast, value)))
    if (Either.isRight(parsed)) return parsed.right
    throw mismatch(ast, value)
  }
}

const sendable = (value: unknown): unknown => {
  if (typeof value === "number" && !Number.isFinite(value)) throw new Mismatch("a finite number", "another")
  if (value instanceof Date && Number.isNaN(value.getTime())) throw new Mismatch("a valid date", "another")
  return value
}

const sending =
  (encode: Encode): Encode =>
  (value) => {
    const encoded = encode(value)
    if (!(encoded instanceof Later)) return sendable(encoded)
    return new Later(
      Effect.flatMap(encoded.value, (late) =>
        // Sound: nothing else is thrown there.
        Effect.try({ try: () => sendable(late), catch: (problem) => problem as Mismatch })
      )
    )
  }

/** One field of one variant of a model. */
export interface FieldPlan {
  readonly name: string
  /** What the field is called on its stored side, before it becomes a column's name. */
  readonly storedName: string
  readonly isOptional: boolean
  readonly decode: Decode
  readonly encode: Encode
  /** What a missing value becomes on a write. */
  readonly missing: (() => unknown) | undefined
  /** The value is made by the application on every write where none is given (Model.DateTimeUpdate and its kin). */
  readonly isGenerated: boolean
  /** An array is one value of this field, and not a list of values. */
  readonly holdsArrays: boolean
}

const isArray = (ast: AST.AST): boolean => {
  switch (ast._tag) {
    case "TupleType":
      return true
    case "Union":
      return ast.types.some(isArray)
    case "Refinement":
      return isArray(ast.from)
    case "Suspend":
      return isArray(ast.f())
    default:
      return false
  }
}

const isUndefinable = (ast: AST.AST): boolean =>
  ast._tag === "UndefinedKeyword" || (ast._tag === "Union" && ast.types.some(isUndefinable))

export const fieldPlan = (name: string, field: Schema.Schema.All | Schema.PropertySignature.All): FieldPlan => {
  const { ast } = field
  switch (ast._tag) {
    case "PropertySignatureDeclaration":
      return {
        name,
        storedName: name,
        isOptional: ast.isOptional,
        decode: decodeBy(ast.type),
        encode: sending(encodeBy(ast.type)),
        missing: ast.defaultValue,
        isGenerated: ast.defaultValue !== undefined && isUndefinable(AST.typeAST(ast.type)),
        holdsArrays: isArray(AST.typeAST(ast.type))
      }
    case "PropertySignatureTransformation": {
      const storedName = String(ast.from.fromKey ?? name)
      // Sound: the field is the only one of a struct of its own, whose types are those of nothing in particular.
      const struct: Schema.Schema<Record<string, unknown>, Record<string, unknown>> = Schema.make(
        Schema.Struct({ [name]: field }).ast
      )
      const decode = ParseResult.decodeUnknownEither(struct)
      const encode = ParseResult.encodeUnknown(struct)
      const prepare = prepareStored(ast.from.type)
      const expected = ast.to.type
      return {
        name,
        storedName,
        isOptional: ast.to.isOptional,
        decode: (value) => {
          const parsed = decode(value === undefined ? {} : { [storedName]: prepare(value) })
          if (Either.isRight(parsed)) return parsed.right[name]
          throw mismatch(expected, value)
        },
        encode: sending((value) => {
          const parsed = encode(value === undefined ? {} : { [name]: value })
          if (!isDone(parsed))
            return new Later(
              Effect.mapBoth(parsed, {
                onFailure: () => mismatch(expected, value),
                onSuccess: (encoded) => encoded[storedName]
              })
            )
          if (Either.isRight(parsed)) return parsed.right[storedName]
          throw mismatch(expected, value)
        }),
        missing: ast.to.defaultValue,
        isGenerated: ast.to.defaultValue !== undefined && isUndefinable(expected),
        holdsArrays: isArray(AST.typeAST(expected))
      }
    }
    default:
      return {
        name,
        storedName: name,
        isOptional: false,
        decode: decodeBy(ast),
        encode: sending(encodeBy(ast)),
        missing: undefined,
        isGenerated: false,
        holdsArrays: isArray(AST.typeAST(ast))
      }
  }
}
