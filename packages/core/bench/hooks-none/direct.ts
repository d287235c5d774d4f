import { beginning } from "../ways/asking.js"

export default beginning(() => (statement, input) => statement(input))
