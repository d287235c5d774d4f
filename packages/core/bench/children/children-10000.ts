import { starting } from "../children.js"

export default starting(10_000)
