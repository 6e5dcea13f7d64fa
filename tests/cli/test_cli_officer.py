"""What the operator does for the officer's console from a shell."""

from support.shell import Shell


def test_the_tables_beside_the_ledger_are_made_anew(twinport: Shell) -> None:
    assert twinport("ledger", "reindex").out == "2 entries sorted in\n"


def test_a_code_is_for_one_person(twinport: Shell) -> None:
    made = twinport("keys", "sign-in", "--role", "privacy-officer", "--person", "ada")
    assert (made.code, "valid once" in made.err) == (0, True)
    wrong = twinport("keys", "sign-in", "--role", "privacy-officer", "--person", "Ada L.")
    assert (wrong.code, "a code, not a name" in wrong.error) == (2, True)
