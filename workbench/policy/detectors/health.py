"""Health: diagnoses, medicines, procedures, measured values, codes of ICD-10; and ages.

Words and stems are those of the trade: the WHO's INN stems of medicines (-cillin, -pril), the Greek
endings of diseases (-itis); English, with the basics of German, French and Spanish.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..classes import DataClass
from .interface import Entity, Finding, detector

_TERMS = frozenset(
    "diabetes diabetic cancer tumor tumour asthma copd pneumonia influenza flu covid hiv aids "
    "herpes malaria measles epilepsy epileptic seizure seizures migraine migraines stroke dementia "
    "alzheimer's parkinson's autism autistic adhd ptsd schizophrenia bipolar insomnia anxiety "
    "hypertension angina arrhythmia embolism anemia obesity gout lupus eczema allergy allergies "
    "pregnant pregnancy miscarriage abortion ivf ulcer hernia dialysis transplant biopsy "
    "chemotherapy chemo radiotherapy mri ecg ultrasound mammogram surgery vaccine pacemaker "
    "physiotherapy sepsis fracture concussion paralysis cholesterol hba1c creatinine insulin "
    "morphine ibuprofen paracetamol aspirin codeine tramadol prozac sertraline lithium metformin "
    "warfarin prednisone antibiotics antidepressants nausea vomiting diarrhea vertigo glaucoma "
    "krebs bluthochdruck schlaganfall schwanger schwangerschaft chemotherapie grippe demenz "
    "allergie diabète enceinte asthme tumeur infarctus dépression cáncer embarazada asma gripe "
    "infarto quimioterapia cirugía".split()
)
_STEMS = tuple(
    "itis ectomy ostomy plasty oscopy emia algia pathy sclerosis phobia thyroidism noma coma "
    "plegia penia rrhea rrhoea rrhage rosis cosis bosis tosis cillin mycin floxacin cycline statin "
    "prazole sartan dipine olol april pril triptan azepam zolam oxetine gliptin flozin glutide "
    "tinib zumab ximab afil vudine ciclovir conazole entzündung infarkt ektomie zytom".split()
)
_NOT = frozenset("academia bohemia nostalgia sympathy empathy antipathy telepathy glaucoma".split())
_WORD = re.compile(r"(?<!\w)[^\W\d_]{3,}+(?:['’]s|\d\w+)?")
_SHAPES = re.compile(
    r"\b(?:[A-TV-Z]\d[\dAB]\.\d{1,3}[A-Z]?\b|(?<=ICD-10 )[A-TV-Z]\d[\dAB]\b|\d{1,4}"
    r"(?:[.,]\d{1,2})? ?(?:m[gm]/d[lL]|mm?ol/(?:l|L|mol)|ng/m[lL]|g/d[lL]|mmHg|mg|mcg|µg)\b|(?:LDL"
    r"|HDL|A1C|TSH|PSA|BMI|INR|BP|(?i:blood pressure))(?: (?:is|was|of))?:? \d{1,3}"
    r"(?:[/.,]\d{1,3})?|(?i:(?:heart|liver|kidney|renal) (?:attack|failure|disease|transplant)"
    r"|blood (?:pressure|sugar|test|clot)|panic attacks?|(?:clinical|severe|my|with"
    r"|from) depression|mental illness|(?:eating|anxiety|personality) disorder|broken (?:arm|leg"
    r"|hip|wrist|ankle|rib)|\w+ syndrome)\b|(?<=my )(?i:(?:severe |chronic )?(?:headaches?|rash"
    r"|fever|cough|(?:back|chest|joint) pain|disability|illness|injury|medication|prescription))\b)"
    r"|\b(?i:diagnosed with|suffer(?:s|ed|ing)? from|allergic to|tested positive for|treat(?:ed"
    r"|ment) for|prescribed|surgery for|history of|leide an|souffre de|sufro de) (?:an? |the |my )?"
    r"(?P<cued>[^\W\d_]{3,20}(?: (?:disease|disorder|pain|cancer|syndrome|infection|deficiency"
    r"|failure))?)\b"
)
_AGE = re.compile(
    r"\b(?:(?P<years>(?:\d{1,3}|(?:twen|thir|for|fif|six|seven|eigh|nine)ty(?:[- ][a-z]{3,5})?)"
    r"(?:[- ](?:years?|yrs?|months?|weeks?)[- ]olds?|[ -]?y/?o| Jahre alt| ans| años| anni"
    r"| jaar))\b(?! d')|(?i:aged?|age of|age is|age:|alter:|im alter von|tengo|edad:|âgée? de|turn"
    r"(?:ed|ing|s)|i'm|i am|he is|she is|he's|she's) (?P<cued>1[01]\d|[1-9]\d?)(?=[,.;)!?\n\x1e]| "
    r"(?:and|years?|but|now|when|from)\b|$)|in (?:his|her|my|their) (?P<decade>[2-9]0s|(?:twen|thir"
    r"|for|fif|six|seven)ties)\b)|(?<=[a-z], )(?P<apposed>[1-9]\d)(?=, (?:of|on|in|from|an?|the|was"
    r"|who|has|had|and|said|is)\b)"
)


@detector(
    Entity("HEALTH_TERM", "health", DataClass.HEALTH, structured=False),
    Entity("AGE", "age of a person", DataClass.PERSONAL, structured=False),
)
def find_health(text: str) -> Iterator[Finding]:
    """Terms by word and stem, values and codes by form, what follows 'diagnosed with'; ages."""
    for match in _WORD.finditer(text):
        word = match[0].lower()
        if word in _TERMS or (len(word) > 6 and word.endswith(_STEMS) and word not in _NOT):
            yield Finding("HEALTH_TERM", match.start(), match.end(), 0.65)
    for match in _SHAPES.finditer(text):
        group = match.lastgroup or 0
        yield Finding("HEALTH_TERM", match.start(group), match.end(group), 0.66)
    for match in _AGE.finditer(text):
        group = match.lastgroup or 0
        yield Finding("AGE", match.start(group), match.end(group), 0.7)
