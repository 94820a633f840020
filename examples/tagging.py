"""A conversation with a running server: a wholesaler reads orders that come as sentences.

    imprint keys create wholesaler         # prints a key
    imprint serve                          # in another terminal
    python3 examples/tagging.py --key KEY
"""

import re

from service import connect

#: Orders as they came; what is to be found stands in brackets with its label.
ORDERS = [
    "Send two crates of [apples](product) to [Ann Lee](person) in [Graz](town).",
    "[Bob Stone](person) from [New York](town) wants thirty boxes of [green tea](product).",
    "Please deliver the [olive oil](product) to our shop in [Linz](town).",
    "Ask [Mr Weber](person) whether the [flour](product) has come.",
    "Our branch in [San Sebastian](town) is out of [red wine](product).",
    "[Maria Oliveira](person) called about her [coffee beans](product).",
    "We need more [sugar](product) and [brown rice](product) by Friday.",
    "Is the warehouse in [Porto](town) open today?",
    "Thank you for the quick delivery.",
    "The invoice for [Chen Wei](person) is still open.",
    "Could you call me back this afternoon?",
    "[Oatmeal](product) for [Dr Singh](person), to be sent to [Cape Town](town).",
]

#: Orders that nobody has marked up.
QUESTIONS = [
    "Twelve sacks of potatoes for Peter Novak in Buenos Aires, please.",
    "Has the dark chocolate reached Ms Johansson yet?",
    "The truck to Valparaiso leaves at noon.",
    "When do you close on Saturdays?",
]

#: A label that comes later, in three orders.
LATER = [
    "Send the [milk](product) by [night train](carrier).",
    "[Lena Brandt](person) asks for [butter](product) by [air freight](carrier).",
    "By [barge](carrier) to [Basel](town), as always.",
]
LATE_QUESTION = "Forty tins of peaches to Anna Kowalska by cargo ship."

MARKED = re.compile(r"\[([^]]+)\]\((\w+)\)")


def example(marked):
    """A sentence and its spans, counted in characters."""
    text, spans, end = "", [], 0
    for found in MARKED.finditer(marked):
        text += marked[end : found.start()]
        spans.append({"start": len(text), "end": len(text) + len(found[1]), "label": found[2]})
        text, end = text + found[1], found.end()
    return {"input": text + marked[end:], "spans": spans}


def main():
    call = connect(__doc__)
    def show(questions):
        for question, found in zip(questions, call("POST", f"{task}/predict", {"query": questions})["predictions"]):
            print(f"> {question}")
            for span in found["spans"]:
                print(f"  {span['label']}: {span['text']} ({span['probability']:.0%})")
            if not found["spans"]:
                print("  nothing to find")
        print()

    support = [example(order) for order in ORDERS]
    task = f"/v1/tasks/{call('POST', '/v1/tasks', {'name': 'orders', 'base_model': 'tagging', 'support': support})['id']}"
    call("POST", f"{task}/adaptations", {})
    print(f"Taught from {len(ORDERS)} orders:")
    show(QUESTIONS)

    call("POST", f"{task}/support", {"examples": [example(order) for order in LATER]})
    call("POST", f"{task}/adaptations", {})
    print(f"With {len(LATER)} more, and a new label in them:")
    show([LATE_QUESTION])
    call("DELETE", task)


if __name__ == "__main__":
    main()
