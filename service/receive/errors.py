"""Why something from elsewhere is not taken."""


class ReceiveError(Exception):
    """One sentence: what is wrong and, where there is one, the next step."""


class NotTrustedError(ReceiveError):
    """Nobody here has said that its issuer is to be trusted."""


class NotHeldError(ReceiveError):
    """No twin from elsewhere of this name is held here."""
