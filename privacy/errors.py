"""What this room raises. A message carries a path, a type or a rule; never a value of a patient.

PrivacyError
├── PolicyError      a policy does not judge what it must, or judges what does not exist
├── KeyRefusedError  a key is absent, short, a known example or not random
├── VaultError       a sealed record cannot be opened here
├── ConflictError    somebody else wrote first: load again, then retry
├── LedgerError      an entry cannot be written as asked
└── SignatureError   bytes, signature and key do not belong together
"""


class PrivacyError(Exception):
    pass


class PolicyError(PrivacyError):
    pass


class KeyRefusedError(PrivacyError):
    pass


class VaultError(PrivacyError):
    pass


class ConflictError(PrivacyError):
    pass


class LedgerError(PrivacyError):
    pass


class SignatureError(PrivacyError):
    pass
